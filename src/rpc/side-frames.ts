import { Bell } from "../events/bell.ts";

/** How many frames may wait for a client before no more is read from it. */
const most = 16;

/** Frames that answer what a client sends on a stream, beside what the stream is for. Few wait: the reader waits instead. */
export class SideFrames<Frame> {
  readonly #frames: Frame[] = [];
  readonly #room = new Bell();
  readonly #ring: () => void;

  /** @param ring called when there is one to take */
  constructor(ring: () => void) {
    this.#ring = ring;
  }

  take(): Frame | undefined {
    const frame = this.#frames.shift();
    if (frame !== undefined) this.#room.ring();
    return frame;
  }

  /** Resolves when there is room for another one, or the signal has aborted. */
  async put(frame: Frame, signal: AbortSignal): Promise<void> {
    this.#frames.push(frame);
    this.#ring();
    if (this.#frames.length < most) return;
    signal.addEventListener("abort", this.#room.ring, { once: true });
    while (this.#frames.length >= most && !signal.aborted) await this.#room.wait();
    signal.removeEventListener("abort", this.#room.ring);
  }
}
