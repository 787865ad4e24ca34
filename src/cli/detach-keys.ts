import { anyText, type Flag, problem } from "./flag.ts";

const DEFAULT_KEYS = "ctrl-p,ctrl-q";

/** What leaves a command that one types into, without ending it. */
export const detachKeys: Flag<Uint8Array> = {
  ...anyText({
    about: "keys that leave it running, when you type into it; none when empty",
    placeholder: "KEYS",
  }),
  fallback: DEFAULT_KEYS,
  read: (given) => readDetachKeys(given.at(-1) ?? DEFAULT_KEYS),
};

/**
 * The bytes of keys that are typed one after the other, as Docker has them: `ctrl-p,ctrl-q`, `ctrl-@,x`; none for an empty
 * text. Throws a Failure that `problem()` made.
 */
export function readDetachKeys(text: string): Uint8Array {
  if (text === "") return new Uint8Array(0);
  return Uint8Array.from(text.split(","), (key) => {
    const control = /^ctrl-([a-z@[\\\]^_])$/i.exec(key)?.[1];
    if (control !== undefined) return control.toUpperCase().charCodeAt(0) & 0x1f;
    if (/^[\x21-\x7e]$/.test(key)) return key.charCodeAt(0);
    throw problem(
      `has to be keys such as ${DEFAULT_KEYS}, each a character or ctrl- and one of a-z @ [ \\ ] ^ _, not "${key}"`,
    );
  });
}

/** Looks for the keys in what is typed. What may be their beginning is held back until it is clear that it is not. */
export class DetachKeys {
  readonly #keys: Uint8Array;
  #seen = 0;

  constructor(keys: Uint8Array) {
    this.#keys = keys;
  }

  /** What of it the command gets, and whether the keys were typed; what follows them is nobody's. */
  take(typed: Uint8Array): { readonly passed: Uint8Array; readonly isDetached: boolean } {
    const keys = this.#keys;
    if (keys.length === 0) return { passed: typed, isDetached: false };
    const passed: number[] = [];
    for (const byte of typed) {
      if (byte !== keys[this.#seen]) {
        passed.push(...keys.subarray(0, this.#seen));
        this.#seen = 0;
      }
      if (byte === keys[this.#seen]) this.#seen += 1;
      else passed.push(byte);
      if (this.#seen === keys.length) return { passed: Uint8Array.from(passed), isDetached: true };
    }
    return { passed: Uint8Array.from(passed), isDetached: false };
  }
}
