import type { Instant } from "../../events/event.ts";
import type { LimitSpec, Prepared } from "../../runtime/runtime.ts";
import type { ContainerId } from "../container.ts";
import type { HardenedSpec } from "../policy/policy.ts";

/** A prepared container that somebody has taken. It is theirs, with its lock, whatever becomes of it. */
export interface Taken {
  readonly id: ContainerId;
  readonly prepared: Prepared;
  /** Nobody else works on a container of this id until it is disposed. */
  readonly lock: Disposable;
  /** Whether it is what a container of this spec would be. */
  readonly fits: (spec: HardenedSpec) => boolean;
  /** With which it was prepared. */
  readonly limits: LimitSpec;
}

export interface ShapeOptions {
  /** Of one shape, at most. */
  readonly perShape: number;
  /** How long after it was last asked for. Milliseconds. */
  readonly idleMs: number;
}

/** Within this time, in milliseconds, what was asked for tells how many will be asked for at once. */
const recentMs = 60_000;

/** What prepared containers have in common, how often it was asked for, and those that wait. */
export class Shape {
  readonly key: string;
  /** The one that was asked for last: what is prepared next has its limits. */
  #spec: HardenedSpec;
  /** The oldest first. */
  readonly waiting: Taken[] = [];
  readonly #options: ShapeOptions;
  /** When it was asked for, the newest last; as many as can matter. */
  #times: Instant[] = [];
  #restUntil = 0;
  #configured = false;

  constructor(key: string, spec: HardenedSpec, options: ShapeOptions) {
    this.key = key;
    this.#spec = spec;
    this.#options = options;
  }

  get spec(): HardenedSpec {
    return this.#spec;
  }

  get askedAt(): Instant {
    return this.#times.at(-1) ?? 0;
  }

  get isConfigured(): boolean {
    return this.#configured;
  }

  /** It is wanted whether or not anybody asks for it. */
  configure(): void {
    this.#configured = true;
  }

  asked(at: Instant, spec: HardenedSpec): void {
    this.#spec = spec;
    this.#times.push(at);
    this.#times = this.#times.slice(-Math.max(2, this.#options.perShape));
  }

  restUntil(at: Instant): void {
    this.#restUntil = at;
  }

  /**
   * How many should wait: all that may if it is configured, none while it was asked for but once or not lately, and else as
   * many as were asked for in the last minute.
   */
  target(now: Instant): number {
    const { perShape, idleMs } = this.#options;
    if (this.#configured) return perShape;
    const lately = this.#times.filter((at) => at > now - idleMs && at <= now);
    if (lately.length < 2) return 0;
    const recent = lately.filter((at) => at > now - recentMs).length;
    return Math.min(perShape, Math.max(1, recent));
  }

  lacks(now: Instant): number {
    return now < this.#restUntil ? 0 : this.target(now) - this.waiting.length;
  }

  /** Takes one that can become this from those that wait, if there is one: the oldest that has its limits, or else the oldest. */
  take(spec: HardenedSpec): Taken | undefined {
    const suiting = this.waiting.filter(({ prepared }) => prepared.suits(spec));
    const taken = suiting.find(({ limits }) => Bun.deepEquals(limits, spec.limits)) ?? suiting[0];
    return taken !== undefined && this.withdraw(taken) ? taken : undefined;
  }

  /** Takes it from those that wait, if it is one of them. */
  withdraw(taken: Taken): boolean {
    const at = this.waiting.indexOf(taken);
    if (at >= 0) this.waiting.splice(at, 1);
    return at >= 0;
  }
}

/** The same for specs of which one container could be prepared: all but what a container is told when it is taken. */
export function shapeKey(spec: HardenedSpec): string {
  const { command: _, args: __, env: ___, workingDir: ____, limits: _____, ...made } = spec;
  const { networkMode, networks: ______, aliases: _______, ...rest } = made;
  return JSON.stringify({ ...rest, hasNetwork: networkMode !== "none" }, (_name, value: unknown) =>
    typeof value === "bigint" ? `${value}n` : value,
  );
}
