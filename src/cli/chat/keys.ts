/** What somebody has pressed. */
export type Key =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "key"; readonly name: KeyName };

export type KeyName =
  | ("enter" | "newline" | "backspace" | "delete" | "left" | "right" | "up" | "down" | "home" | "end")
  | ("word-left" | "word-right" | "kill-word" | "kill-line" | "kill-rest" | "clear")
  | ("ctrl-c" | "ctrl-d" | "ctrl-o");

const ESCAPE = "\u001b";
const PASTE_BEGIN = `${ESCAPE}[200~`;
const PASTE_END = `${ESCAPE}[201~`;

/** What terminals send for keys; Alt-Enter and Ctrl-J begin another line. */
const SEQUENCES: readonly (readonly [string, KeyName])[] = [
  [`${ESCAPE}\r`, "newline"],
  [`${ESCAPE}[A`, "up"],
  [`${ESCAPE}OA`, "up"],
  [`${ESCAPE}[B`, "down"],
  [`${ESCAPE}OB`, "down"],
  [`${ESCAPE}[C`, "right"],
  [`${ESCAPE}OC`, "right"],
  [`${ESCAPE}[D`, "left"],
  [`${ESCAPE}OD`, "left"],
  [`${ESCAPE}[H`, "home"],
  [`${ESCAPE}OH`, "home"],
  [`${ESCAPE}[1~`, "home"],
  [`${ESCAPE}[F`, "end"],
  [`${ESCAPE}OF`, "end"],
  [`${ESCAPE}[4~`, "end"],
  [`${ESCAPE}[3~`, "delete"],
  [`${ESCAPE}[1;5D`, "word-left"],
  [`${ESCAPE}b`, "word-left"],
  [`${ESCAPE}[1;5C`, "word-right"],
  [`${ESCAPE}f`, "word-right"],
  ["\r", "enter"],
  ["\n", "newline"],
  ["\u007f", "backspace"],
  ["\b", "backspace"],
  ["\u0001", "home"],
  ["\u0002", "left"],
  ["\u0003", "ctrl-c"],
  ["\u0004", "ctrl-d"],
  ["\u0005", "end"],
  ["\u0006", "right"],
  ["\u000b", "kill-rest"],
  ["\u000c", "clear"],
  ["\u000e", "down"],
  ["\u000f", "ctrl-o"],
  ["\u0010", "up"],
  ["\u0015", "kill-line"],
  ["\u0017", "kill-word"],
];

/** Makes keys of the bytes that a terminal sends, however they are cut. */
export class KeyReader {
  readonly #decoder = new TextDecoder();
  #rest = "";

  take(bytes: Uint8Array): readonly Key[] {
    this.#rest += this.#decoder.decode(bytes, { stream: true });
    const keys: Key[] = [];
    while (this.#rest !== "") {
      const key = this.#next();
      if (key === undefined) break;
      if (key !== "nothing") keys.push(key);
    }
    return keys;
  }

  /** Undefined: more has to come. */
  #next(): Key | "nothing" | undefined {
    const rest = this.#rest;
    if (rest.startsWith(PASTE_BEGIN)) return this.#pasted();
    const found = SEQUENCES.find(([sequence]) => rest.startsWith(sequence));
    if (found !== undefined) {
      this.#rest = rest.slice(found[0].length);
      return { kind: "key", name: found[1] };
    }
    if (rest.startsWith(ESCAPE)) {
      // Anything else that begins so means nothing here.
      const sequence = /^(?:\[[\d;?]*[@-~]|O[@-~]|[^[O])/.exec(rest.slice(ESCAPE.length))?.[0];
      if (sequence === undefined) return undefined;
      this.#rest = rest.slice(ESCAPE.length + sequence.length);
      return "nothing";
    }
    const text = /^[^\p{Cc}]+/u.exec(rest)?.[0];
    this.#rest = rest.slice(text?.length ?? 1);
    return text === undefined ? "nothing" : { kind: "text", text };
  }

  #pasted(): Key | undefined {
    const end = this.#rest.indexOf(PASTE_END);
    if (end < 0) return undefined;
    const text = this.#rest.slice(PASTE_BEGIN.length, end).replace(/\r\n?/g, "\n");
    this.#rest = this.#rest.slice(end + PASTE_END.length);
    return { kind: "text", text: text.replace(/(?![\n\t])\p{Cc}/gu, "").replaceAll("\t", "  ") };
  }
}
