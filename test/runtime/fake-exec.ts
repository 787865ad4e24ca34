import { Failure } from "../../src/failure.ts";
import type { Exec, ExecOutcome, ExecSpec, OutputChunk } from "../../src/runtime/runtime.ts";
import type { FakeContainer } from "./fake-container.ts";
import { FakePipe } from "./fake-pipe.ts";
import { FakeProcess, signalNumber, type WindowSize } from "./fake-process.ts";
import { knows } from "./fake-shell.ts";

export interface FakeExecParts {
  readonly container: FakeContainer;
  readonly spec: ExecSpec;
  /** Ends the stream, not the process. */
  readonly signal: AbortSignal;
  /** Throws when the engine can't be asked, or does not know the container any more. */
  readonly ask: (signal: AbortSignal) => Promise<"known" | "forgotten">;
  /** What an aborted signal throws. */
  readonly aborted: (signal: AbortSignal) => Failure;
}

const NOT_THERE = { words: "executable file not found in $PATH", code: 127 };
const NOT_EXECUTABLE = { words: "permission denied", code: 126 };

/** A command in a container of the fake engine. */
export class FakeExec implements Exec {
  readonly id = crypto.randomUUID();
  readonly output: AsyncIterable<OutputChunk>;
  readonly #parts: FakeExecParts;
  readonly #process: FakeProcess;
  /** One chunk at a time: who does not read keeps the process waiting. */
  #next: { readonly chunk: OutputChunk; readonly taken: () => void } | undefined;
  #arrived = new FakePipe();
  #left = false;

  constructor(parts: FakeExecParts) {
    const { container, spec } = parts;
    this.#parts = parts;
    const [program = ""] = spec.command;
    const found = knows(program);
    const refusal = program === "/etc/passwd" ? NOT_EXECUTABLE : NOT_THERE;
    const words = `exec: "${program}": ${refusal.words}`;
    this.#process = new FakeProcess(
      {
        argv: found ? spec.command : ["sh", "-c", `echo '${words}' >&2; exit ${refusal.code}`],
        env: { ...container.spec.env, ...spec.env },
        workingDir: spec.workingDir || container.spec.workingDir,
        user: spec.user || (container.spec.user ?? ""),
        tty: spec.tty,
        isFirst: false,
        outOfMemory: () => container.outOfMemory(),
        touch: (path) => container.files.touch(path),
        write: (stream, data, signal) => this.#offer({ stream, data }, signal),
      },
      spec.size,
    );
    if (!spec.stdin) this.#process.stdin.end();
    container.execs.add(this.#process);
    this.#process.exited.then(() => {
      container.execs.delete(this.#process);
      this.#arrived.end();
    });
    this.output = this.#read();
  }

  async write(data: Uint8Array, signal: AbortSignal): Promise<void> {
    if (!this.#parts.spec.stdin) throw this.#refused("write to", "it was started without stdin");
    try {
      await this.#process.stdin.write(data, signal);
    } catch {
      throw this.#parts.aborted(signal);
    }
  }

  async closeStdin(): Promise<void> {
    this.#process.stdin.end();
  }

  async resize(size: WindowSize, signal: AbortSignal): Promise<void> {
    await this.#parts.ask(signal);
    if (this.#process.code !== undefined) throw this.#refused("resize", "its process does not run");
    this.#process.size = size;
  }

  async signal(name: string, signal: AbortSignal): Promise<void> {
    const number = signalNumber(name);
    if (number === undefined) {
      throw new Failure(
        "invalid_argument",
        `Cannot send ${name} to exec "${this.id}": there is no signal of this name`,
      );
    }
    await this.#parts.ask(signal);
    if (this.#process.code !== undefined) throw this.#refused(`send ${name} to`, "its process does not run");
    this.#process.signal(number);
  }

  async outcome(signal: AbortSignal): Promise<ExecOutcome> {
    if ((await this.#parts.ask(signal)) === "forgotten")
      return { kind: "unknown", reason: "its container is gone" };
    const { code } = this.#process;
    return code === undefined ? { kind: "running" } : { kind: "exited", code };
  }

  /** The stream ends, and what the process still writes is nobody's. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#left = true;
    this.#next?.taken();
    this.#arrived.end();
  }

  async #offer(chunk: OutputChunk, signal: AbortSignal): Promise<void> {
    if (this.#left) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    signal.addEventListener("abort", () => resolve(), { once: true });
    this.#next = { chunk, taken: resolve };
    await this.#arrived.write(Uint8Array.of(1), signal);
    await promise;
  }

  async *#read(): AsyncGenerator<OutputChunk> {
    const { signal, aborted } = this.#parts;
    try {
      while ((await this.#arrived.read(signal)) !== undefined) {
        const next = this.#next;
        if (next === undefined) continue;
        yield next.chunk;
        this.#next = undefined;
        next.taken();
      }
    } catch (thrown) {
      throw signal.aborted ? aborted(signal) : thrown;
    } finally {
      await this[Symbol.asyncDispose]();
    }
  }

  #refused(verb: string, state: string): Failure {
    return new Failure("failed_precondition", `Cannot ${verb} exec "${this.id}": ${state}`);
  }
}
