import type { ResourceReading } from "../runtime/runtime.ts";
import type { ContainerId } from "./container.ts";
import { type Crossing, crossings, nothingReached, type Reached, type Usage } from "./usage.ts";

interface Kept {
  readonly reading: ResourceReading;
  readonly usage: Usage;
  readonly reached: Reached;
  readonly isLive: boolean;
}

/**
 * The last reading of each container, in memory: it is of no use to a server that starts. Bounded by the containers that
 * there are, which tell of their end.
 */
export class Readings {
  readonly #kept = new Map<ContainerId, Kept>();
  readonly #marks: readonly number[];

  /** @param marks shares of a limit that are told when they are reached, in percent, ascending */
  constructor(marks: readonly number[]) {
    this.#marks = marks;
  }

  /** What a container was last seen to use. */
  usage(id: ContainerId): Usage | undefined {
    return this.#kept.get(id)?.usage;
  }

  reading(id: ContainerId): ResourceReading | undefined {
    return this.#kept.get(id)?.reading;
  }

  /** What those of these that have not ended were last seen to use, each the same object until it is read again. */
  live(ids: readonly string[]): readonly Usage[] {
    if (ids.length === 0) return none;
    return ids.flatMap((id) => {
      const kept = this.#kept.get(id as ContainerId); // a session's containerIds are nothing else
      return kept?.isLive === true ? [kept.usage] : [];
    });
  }

  /** Keeps a reading; gives the marks that it is the first to reach. */
  keep(
    id: ContainerId,
    { reading, usage }: { readonly reading: ResourceReading; readonly usage: Usage },
  ): readonly Crossing[] {
    const reachedBefore = this.#kept.get(id)?.reached ?? nothingReached;
    const { reached, crossed } = crossings(usage, { marks: this.#marks, reached: reachedBefore });
    this.#kept.set(id, { reading, usage, reached, isLive: true });
    return crossed;
  }

  /** It uses nothing any more; what it used last can still be asked. */
  ended(id: ContainerId): void {
    const kept = this.#kept.get(id);
    if (kept?.isLive === true) this.#kept.set(id, { ...kept, reached: nothingReached, isLive: false });
  }

  forget(id: ContainerId): void {
    this.#kept.delete(id);
  }
}

const none: readonly Usage[] = [];
