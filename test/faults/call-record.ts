import { Failure } from "../../src/failure.ts";
import type { Violations } from "../crash/violations.ts";
import type { EngineProxy } from "../runtime/docker/engine-proxy.ts";

/** By then every call has to be answered by the server; none of them asks for longer. Milliseconds. */
export const callTimeoutMs = 30_000;

/** What a server may answer that can't do what it was asked; anything else is a defect or no answer at all. */
const typed: ReadonlySet<string> = new Set([
  "unavailable",
  "not_found",
  "failed_precondition",
  "aborted",
  "resource_exhausted",
  "already_exists",
]);

/** Keeps how calls ended: each has to be answered, by a success or by words that say what is the matter. */
export class CallRecord {
  readonly #violations: Violations;
  readonly #proxy: EngineProxy;
  readonly #outcomes = new Map<string, number>();
  #longestMs = 0;
  #settled = 0;
  #more = Promise.withResolvers<void>();

  constructor(parts: { readonly violations: Violations; readonly proxy: EngineProxy }) {
    this.#violations = parts.violations;
    this.#proxy = parts.proxy;
  }

  /** The answer of a call; `undefined` when it was a refusal. */
  async made<T>(name: string, call: Promise<T>): Promise<T | undefined> {
    const begin = performance.now();
    try {
      const answer = await call;
      this.#add("ok", begin);
      return answer;
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      this.#add(error.kind, begin);
      if (!typed.has(error.kind)) {
        const tookS = ((performance.now() - begin) / 1_000).toFixed(1);
        const waiting = this.#proxy.unanswered.join(", ");
        this.#violations.add(
          `${name} ended as ${error.kind} after ${tookS} s: ${error.message}; unanswered by the engine: ${waiting}`,
        );
      }
      return undefined;
    }
  }

  /** Resolves when so many calls have ended. */
  async reaches(count: number): Promise<void> {
    while (this.#settled < count) await this.#more.promise;
  }

  get settled(): number {
    return this.#settled;
  }

  /** `9 calls: 7 ok, 2 unavailable; the longest 4.6 s` */
  get words(): string {
    const kinds = [...this.#outcomes].map(([kind, count]) => `${count} ${kind}`).join(", ");
    return `${this.#settled} calls: ${kinds}; the longest ${(this.#longestMs / 1_000).toFixed(1)} s`;
  }

  #add(outcome: string, begin: number): void {
    this.#outcomes.set(outcome, (this.#outcomes.get(outcome) ?? 0) + 1);
    this.#longestMs = Math.max(this.#longestMs, performance.now() - begin);
    this.#settled += 1;
    this.#more.resolve();
    this.#more = Promise.withResolvers();
  }
}
