import { randomInt } from "node:crypto";
import type { Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import { abortFailure, Failure } from "../../failure.ts";
import type { Exec, ExecOutcome, ExecSpec, OutputChunk, RuntimeId } from "../runtime.ts";
import { signalNumber } from "../signal-number.ts";
import { demux } from "./demux.ts";
import type { Engine } from "./engine.ts";
import { signalExec } from "./exec-signal.ts";
import type { Begun } from "./exec-starts.ts";
import { engineFailure, plainWords, unreachable } from "./failures.ts";
import { named, pathOf } from "./lifecycle.ts";
import { envList } from "./spec.ts";

/**
 * Runs a command in a running container. A command that can't be started has the engine's words on its stderr and ends
 * with the code 126 or 127, as a shell would have it: the engine opens the stream before it tries.
 */
export async function startExec(
  engine: Engine,
  id: RuntimeId,
  spec: ExecSpec,
  signal: AbortSignal,
): Promise<Exec> {
  return await engine.execStarts.start(id, () => start(engine, id, spec, signal), signal);
}

async function start(
  engine: Engine,
  id: RuntimeId,
  spec: ExecSpec,
  signal: AbortSignal,
): Promise<DockerExec> {
  const doing = `run a command in ${named(id)}`;
  const created = await engine.call(
    { doing, method: "POST", path: `${pathOf(id)}/exec`, body: execBody(spec) },
    z.object({ Id: z.string() }),
    signal,
  );
  await spec.after;
  const path = `/exec/${created.Id}`;
  const body = { Detach: false, Tty: spec.tty };
  const socket = await engine.hijack({ doing, method: "POST", path: `${path}/start`, body }, signal);
  const exec = new DockerExec(engine, { containerId: id, execId: created.Id, spec, socket, signal });
  try {
    if (spec.tty && spec.size !== undefined) await exec.resizeFirst(spec.size, signal);
    return exec;
  } catch (error) {
    await exec[Symbol.asyncDispose]();
    throw error;
  }
}

function execBody(spec: ExecSpec): object {
  return {
    Cmd: spec.command,
    Env: envList(spec.env),
    ...(spec.workingDir === "" ? {} : { WorkingDir: spec.workingDir }),
    ...(spec.user === "" ? {} : { User: spec.user }),
    Tty: spec.tty,
    AttachStdin: spec.stdin,
    AttachStdout: true,
    AttachStderr: true,
    ...(spec.tty ? { DetachKeys: NOBODYS_KEYS } : {}),
    // Known from API 1.42 on; a window that is there from the first moment.
    ...(spec.tty && spec.size !== undefined ? { ConsoleSize: [spec.size.rows, spec.size.columns] } : {}),
  };
}

/**
 * Keys that nobody types, in place of the engine's own Ctrl-P Ctrl-Q: on those an engine would cut the command off, and
 * they are for the command, or for the client, to hear. Of another process each time, so that no text can hold them.
 */
const NOBODYS_KEYS = ["ctrl-@", ...Array.from({ length: 20 }, () => "abcdefghij".charAt(randomInt(10)))].join(
  ",",
);

interface ExecParts {
  readonly containerId: RuntimeId;
  readonly execId: string;
  readonly spec: ExecSpec;
  readonly socket: Socket;
  readonly signal: AbortSignal;
}

/** How often and after which waits, in milliseconds, an engine is asked again that says that an ended process runs. */
const OUTCOME_WAITS = [1, 1, 2, 4, 8, 20, 40, 80, 160, 320, 640, 1_000] as const;
/** The same for what an engine refuses until the process is there. */
const START_WAITS = [5, 10, 20, 40, 80, 160, 320, 640, 1_000] as const;

const FORGOTTEN = "the engine has forgotten the command: its container is gone or was started anew";

const ExecState = z.object({
  Running: z.boolean(),
  ExitCode: z.number().nullish(),
  Pid: z.number().default(0),
});

class DockerExec implements Exec, Begun {
  readonly id: string;
  readonly output: AsyncIterable<OutputChunk>;
  readonly closed: Promise<void>;
  readonly #engine: Engine;
  readonly #parts: ExecParts;
  readonly #path: string;
  /** Whether the engine closed the stream by itself: then the process has ended or the engine has. */
  #ended = false;
  #untouched = true;
  /** What the engine said instead of starting the command. */
  #refusal: string | undefined;

  constructor(engine: Engine, parts: ExecParts) {
    this.id = parts.execId;
    this.#engine = engine;
    this.#parts = parts;
    this.#path = `/exec/${parts.execId}`;
    this.output = this.#read();
    this.closed = new Promise((resolve) => {
      if (parts.socket.closed) resolve();
      else parts.socket.once("close", () => resolve());
    });
  }

  async begun(signal: AbortSignal): Promise<void> {
    const doing = `ask whether exec "${this.#shortId}" has begun`;
    try {
      for (const waitMs of [...START_WAITS, 0]) {
        const { Running, ExitCode, Pid } = await this.#inspect(doing, signal);
        if (Running ? Pid > 0 : typeof ExitCode === "number") return;
        await pause(waitMs, signal);
      }
    } catch (error) {
      // With its container it was forgotten as well.
      if (!(error instanceof Failure && error.kind === "not_found")) throw error;
    }
  }

  async write(data: Uint8Array, signal: AbortSignal): Promise<void> {
    const { socket, spec } = this.#parts;
    if (signal.aborted) throw abortFailure(signal);
    if (!spec.stdin) throw this.#failure("failed_precondition", "write to", "it was started without stdin");
    if (!socket.writable || data.length === 0) return;
    if (socket.write(data)) return;
    await drained(socket, signal);
  }

  async closeStdin(): Promise<void> {
    const { socket, spec } = this.#parts;
    if (spec.stdin && socket.writable) socket.end();
  }

  async resize(
    size: { readonly columns: number; readonly rows: number },
    signal: AbortSignal,
  ): Promise<void> {
    const query = { h: size.rows, w: size.columns };
    const kinds = { 400: "failed_precondition", 500: "failed_precondition" } as const;
    const doing = `resize the terminal of exec "${this.#shortId}"`;
    await this.#engine.act({ doing, method: "POST", path: `${this.#path}/resize`, query, kinds }, signal);
  }

  /** The engine takes a size only once the process runs, and its stream opens a moment before that. */
  async resizeFirst(
    size: { readonly columns: number; readonly rows: number },
    signal: AbortSignal,
  ): Promise<void> {
    for (const waitMs of START_WAITS) {
      try {
        return await this.resize(size, signal);
      } catch (error) {
        // A short command has come and gone by now, and its terminal with it.
        if (error instanceof Failure && error.kind === "not_found") return;
        if (!(error instanceof Failure && error.kind === "failed_precondition")) throw error;
      }
      await pause(waitMs, signal);
    }
  }

  async signal(name: string, signal: AbortSignal): Promise<void> {
    const doing = `send ${name} to exec "${this.#shortId}"`;
    const number = signalNumber(name, doing);
    const pid = await this.#pid(doing, signal);
    const { containerId, spec } = this.#parts;
    const run = (command: readonly string[]): Promise<Exec> =>
      startExec(this.#engine, containerId, { ...BARE, command, user: spec.user }, signal);
    await signalExec({ doing, number, pid, containerId, run }, signal);
  }

  async outcome(signal: AbortSignal): Promise<ExecOutcome> {
    const doing = `ask how exec "${this.#shortId}" ended`;
    let last: ExecOutcome = { kind: "running" };
    for (const waitMs of this.#ended ? [...OUTCOME_WAITS, 0] : [0]) {
      try {
        const { Running, ExitCode } = await this.#inspect(doing, signal);
        if (!Running && typeof ExitCode === "number")
          return {
            kind: "exited",
            code: this.#refusal === undefined ? ExitCode : refusalCode(this.#refusal),
          };
        if (!Running && this.#ended)
          last = { kind: "unknown", reason: "the engine does not know how it ended" };
      } catch (error) {
        if (!(error instanceof Failure && error.kind === "not_found")) throw error;
        return { kind: "unknown", reason: FORGOTTEN };
      }
      await pause(waitMs, signal);
    }
    return last;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#parts.socket.destroy();
  }

  get #shortId(): string {
    return this.id.slice(0, 12);
  }

  #inspect(doing: string, signal: AbortSignal): Promise<z.infer<typeof ExecState>> {
    return this.#engine.call({ doing, method: "GET", path: `${this.#path}/json` }, ExecState, signal);
  }

  /** The process's number on the engine's machine. The engine opens the stream a moment before it starts the process. */
  async #pid(doing: string, signal: AbortSignal): Promise<number> {
    for (const waitMs of START_WAITS) {
      const { Running, ExitCode, Pid } = await this.#inspect(doing, signal);
      if (Running && Pid > 0) return Pid;
      if (!Running && typeof ExitCode === "number") break;
      await pause(waitMs, signal);
    }
    throw new Failure("failed_precondition", `Cannot ${doing}: its process does not run`);
  }

  async *#read(): AsyncGenerator<OutputChunk> {
    const { socket, spec, signal, containerId } = this.#parts;
    const doing = `read the output of exec "${this.#shortId}" in ${named(containerId)}`;
    const at = { doing, endpoint: this.#engine.endpoint.name };
    try {
      const broken = (why: string) => unreachable(at, why);
      const chunks = spec.tty ? raw(socket) : demux(socket, { wholeFrames: false, broken });
      const { execRefusal } = await this.#engine.dialect(doing, signal);
      for await (const chunk of chunks) {
        const words = await this.#engineWords(chunk, execRefusal, doing);
        // What an engine adds to its refusal is about itself.
        if (words !== undefined || this.#refusal === undefined) yield words ?? chunk;
      }
      this.#ended = true;
    } catch (error) {
      if (signal.aborted) throw abortFailure(signal);
      throw engineFailure(error, at);
    } finally {
      socket.destroy();
    }
  }

  /** Output that is not the command's but the engine's, which says there why it could not start it. */
  async #engineWords(chunk: OutputChunk, refusal: RegExp, doing: string): Promise<OutputChunk | undefined> {
    const isFirst = this.#untouched;
    this.#untouched = false;
    if (!isFirst) return undefined;
    const text = Buffer.from(chunk.data.buffer, chunk.data.byteOffset, chunk.data.byteLength).toString();
    if (!refusal.test(text)) return undefined;
    const { Running, Pid } = await this.#inspect(doing, this.#parts.signal);
    // A command that ran may print such words itself; it had a process.
    if (Running || Pid !== 0) return undefined;
    const words = plainWords(text.trim());
    this.#refusal = words;
    if (this.#parts.spec.tty) return { stream: "stdout", data: Buffer.from(`${words}\r\n`) };
    return { stream: "stderr", data: Buffer.from(`${words}\n`) };
  }

  #failure(kind: Failure["kind"], verb: string, state: string): Failure {
    return new Failure(kind, `Cannot ${verb} exec "${this.#shortId}": ${state}`);
  }
}

/** As shells have it: 127 for a command that is not there, 126 for one that can't be run. Engines before 23 say 126 for both. */
function refusalCode(words: string): number {
  return /^exec: ".*": (?:executable file not found|(?:stat .*: )?no such file)/s.test(words) ? 127 : 126;
}

/** With a terminal the engine hands on what the process writes as it is. */
async function* raw(socket: Socket): AsyncGenerator<OutputChunk> {
  for await (const data of socket) yield { stream: "stdout", data };
}

/** A command that says and hears nothing. */
const BARE: Omit<ExecSpec, "command" | "user"> = { env: {}, workingDir: "/", tty: false, stdin: false };

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (ms > 0) await delay(ms, undefined, { signal }).catch(() => {});
  if (signal.aborted) throw abortFailure(signal);
}

/** Resolves when the socket has room again, or is closed: what was written to a process that ended is nobody's. */
function drained(socket: Socket, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      socket.off("drain", settle);
      socket.off("close", settle);
      signal.removeEventListener("abort", settle);
      if (signal.aborted) reject(abortFailure(signal));
      else resolve();
    };
    socket.on("drain", settle);
    socket.on("close", settle);
    signal.addEventListener("abort", settle, { once: true });
    if (socket.destroyed) settle();
  });
}
