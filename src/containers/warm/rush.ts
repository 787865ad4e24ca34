/** How long after a container was taken it counts still: its caller asks for its output first. Milliseconds. */
const settleMs = 50;
/** How long a container that could end waits for others that are being taken, in milliseconds. */
const maxHeldMs = 300;
/** How long after one was let go the next one is, in milliseconds: about what an engine needs for one. */
const paceMs = 20;

/** One container that is being taken; disposed when its caller has it. */
export interface Taking extends Disposable {
  /** Whether no other is being taken, or was a moment ago. */
  readonly isAlone: boolean;
  /** Hears that its command has ended, and that its container ends at `letGo`. */
  ending(letGo: () => void): void;
}

/**
 * Containers that are being taken at the same time. What an engine does behind a command that has ended takes it some
 * 35 ms of a processor, so commands that end at once would take both processors from those that are still to begin:
 * they are let go when nobody waits for a container, one after the other. Whoever is alone waits for nothing.
 */
export class Rush {
  readonly #onCalm: () => void;
  /** Being taken now, or a moment ago. */
  readonly #lately = new Set<Taking>();
  readonly #held: { readonly taking: Taking; readonly since: number; readonly letGo: () => void }[] = [];
  #nextAt = 0;
  #timer: Timer | undefined;

  /** @param onCalm hears when it is over */
  constructor(onCalm: () => void) {
    this.#onCalm = onCalm;
  }

  /** Whether containers are being taken, or ends wait for that. */
  get isOn(): boolean {
    return this.#lately.size > 0 || this.#held.length > 0;
  }

  begin(): Taking {
    const isAlone = () => this.#isAlone(taking);
    const taking: Taking = {
      get isAlone() {
        return isAlone();
      },
      ending: (letGo) => {
        this.#held.push({ taking, since: performance.now(), letGo });
        this.#look();
      },
      [Symbol.dispose]: () => {
        setTimeout(() => this.#settled(taking), settleMs);
      },
    };
    this.#lately.add(taking);
    return taking;
  }

  #isAlone(taking: Taking): boolean {
    return [...this.#lately].every((one) => one === taking);
  }

  #settled(taking: Taking): void {
    this.#lately.delete(taking);
    this.#look();
    if (!this.isOn) this.#onCalm();
  }

  /** Lets the first one go when it is its time, and comes again for the next. */
  #look(): void {
    clearTimeout(this.#timer);
    const [first] = this.#held;
    if (first === undefined) return;
    const now = performance.now();
    const at = Math.max(this.#isAlone(first.taking) ? now : first.since + maxHeldMs, this.#nextAt);
    if (at > now) {
      this.#timer = setTimeout(() => this.#look(), at - now);
      return;
    }
    this.#held.shift();
    this.#nextAt = now + paceMs;
    first.letGo();
    this.#look();
    if (!this.isOn) this.#onCalm();
  }
}
