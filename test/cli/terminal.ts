import type { Subprocess } from "bun";

/** Less than the test's own time, so that a failure says what the terminal shows, and leaves the other tests their server. */
const SHOWN_WITHIN_MS = 25_000;

/** A shell of this host on a terminal of 90 x 30, of which one can wait for what it shows. */
export class Terminal implements AsyncDisposable {
  #shown = "";
  #wake: (() => void) | undefined;
  readonly #shell: Subprocess;

  /** @param socketPath the server that `baaaht` finds there */
  constructor(socketPath: string) {
    this.#shell = Bun.spawn(["bash", "--norc", "--noprofile"], {
      env: { PATH: process.env.PATH, HOME: process.env.HOME, GRPC_SOCKET_PATH: socketPath, PS1: "" },
      terminal: {
        cols: 90,
        rows: 30,
        data: (_, data) => {
          this.#shown += Buffer.from(data).toString();
          this.#wake?.();
        },
      },
    });
  }

  type(text: string): void {
    this.#shell.terminal?.write(text);
  }

  resize(columns: number, rows: number): void {
    this.#shell.terminal?.resize(columns, rows);
  }

  /** Waits until this is shown behind what was waited for before; throws with what is there when it does not come. */
  async shows(pattern: RegExp): Promise<string> {
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(
      () => late.reject(new Error(`Cannot see ${pattern} in ${JSON.stringify(this.#shown)}`)),
      SHOWN_WITHIN_MS,
    );
    try {
      return await this.#shows(pattern, late.promise);
    } finally {
      clearTimeout(timer);
    }
  }

  async #shows(pattern: RegExp, late: Promise<never>): Promise<string> {
    for (;;) {
      const found = pattern.exec(this.#shown);
      if (found !== null) {
        this.#shown = this.#shown.slice(found.index + found[0].length);
        return found[0];
      }
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await Promise.race([promise, late]);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#shell.kill("SIGKILL");
    await this.#shell.exited;
    this.#shell.terminal?.close();
  }
}
