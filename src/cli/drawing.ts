import type { Output } from "./shell.ts";
import { cut } from "./table.ts";

/** How often it is drawn anew at most, in milliseconds. */
const drawEveryMs = 200;

/** Text on a terminal that is drawn over itself when it has changed. Disposing draws it a last time. */
export class Drawing implements AsyncDisposable {
  readonly #output: Output;
  readonly #text: () => string;
  #drawn = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #hasNews = false;
  #writing: Promise<void> = Promise.resolve();

  /** @param text lines, each with its end; asked when it is drawn */
  constructor(output: Output, text: () => string) {
    this.#output = output;
    this.#text = text;
  }

  /** Has it drawn soon; what changes until then is drawn together. */
  changed(): void {
    this.#hasNews = true;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#draw();
    }, drawEveryMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#timer);
    if (this.#hasNews) this.#draw();
    await this.#writing;
  }

  #draw(): void {
    this.#hasNews = false;
    const size = this.#output.size();
    // A line that is wrapped, or above the terminal's first one, could not be drawn over.
    const lines = this.#text().split("\n").slice(0, -1);
    const room = size === undefined ? lines.length : Math.max(1, size.rows - 1);
    const shown = lines
      .slice(0, room)
      .map((line) => (size === undefined ? line : fitted(line, size.columns)));
    // From a line's first place, wherever what is typed has left the cursor.
    const up = this.#drawn === 0 ? "\r" : `\r\u001b[${this.#drawn}A`;
    this.#drawn = shown.length;
    const text = `${up}\u001b[J${shown.map((line) => `${line}\n`).join("")}`;
    // Nobody there to see it is nothing to fail for: what the command is about fails by itself.
    this.#writing = this.#writing.then(() => this.#output.write(text)).catch(() => undefined);
  }
}

/** A line that was cut may have lost the end of its colours. */
function fitted(line: string, columns: number): string {
  const shown = cut(line, columns);
  return shown === line ? line : `${shown}\u001b[0m`;
}
