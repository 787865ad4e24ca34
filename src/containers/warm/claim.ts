import { Failure } from "../../failure.ts";
import { orAborted } from "../../or-aborted.ts";
import type { ContainerId } from "../container.ts";
import type { MadeInEngine } from "../making.ts";
import type { HardenedSpec } from "../policy/policy.ts";
import type { Pool } from "./pool.ts";
import type { Taking } from "./rush.ts";
import type { Taken } from "./shape.ts";

/** A prepared container for one creation. Disposing gives it back if it was not used, and else lets go of its lock. */
export class Claim implements Disposable {
  readonly id: ContainerId;
  readonly #taken: Taken;
  readonly #pool: Pool;
  readonly #taking: Taking;
  readonly #digest: Promise<string | undefined>;
  #isUsed = false;

  /** @param digest what the image is now: it may be another one than when the container was prepared */
  constructor(taken: Taken, options: { readonly pool: Pool; readonly digest: Promise<string | undefined> }) {
    this.id = taken.id;
    this.#taken = taken;
    this.#pool = options.pool;
    this.#taking = options.pool.rush.begin();
    this.#digest = options.digest;
    this.#digest.catch(() => {}); // asked for when it matters
  }

  /**
   * Runs the command in it; `undefined` when it has not begun in this one and never will, and then nothing is left of it.
   *
   * Failures: UNAVAILABLE when it may have begun, which is not tried again; those of `surround`; the signal's reason.
   *
   * @param surround makes what it needs besides itself
   */
  async become(
    spec: HardenedSpec,
    { surround }: { readonly surround: () => Promise<void> },
    signal: AbortSignal,
  ): Promise<MadeInEngine | undefined> {
    const { prepared, fits } = this.#taken;
    this.#isUsed = true;
    try {
      if (fits(spec) && (await this.#imageNow(signal)) === prepared.facts.imageDigest) {
        await surround();
        const onEnding = this.#taking.isAlone ? undefined : this.#taking.ending;
        const facts = await prepared.become(spec, { onEnding }, signal);
        return { facts, attached: { output: prepared.output, end: prepared.endOutput } };
      }
    } catch (error) {
      // Whatever is wrong with its command, the engine has the words for it.
      if (!(error instanceof Failure) || error.kind !== "failed_precondition") throw error;
    }
    prepared.endOutput();
    await this.#pool.discard(this.#taken);
    return undefined;
  }

  async #imageNow(signal: AbortSignal): Promise<string | undefined> {
    try {
      return await orAborted(this.#digest, signal);
    } catch (error) {
      // An engine that can't say it is asked in the usual way, and tells why.
      if (!(error instanceof Failure)) throw error;
      return undefined;
    }
  }

  [Symbol.dispose](): void {
    this.#taking[Symbol.dispose]();
    if (this.#isUsed) this.#taken.lock[Symbol.dispose]();
    else this.#pool.giveBack(this.#taken);
  }
}
