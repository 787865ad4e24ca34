import type { MessageInitShape } from "@bufbuild/protobuf";
import { backoffMs, pause } from "../client/backoff.ts";
import type { Client } from "../client/client.ts";
import { CONNECTION_LOST } from "../client/status-failure.ts";
import { Failure } from "../failure.ts";
import type {
  StreamTaskRequestSchema,
  StreamTaskResponse,
  TaskError,
  TaskOutput,
} from "../gen/proto/agent/v1/agent_pb.ts";
import { COMMAND_EXIT_CODES, SIGNAL_EXIT_CODES } from "./exit-codes.ts";
import type { Shell, StopSignal } from "./shell.ts";

export interface Following {
  readonly taskId: string;
  readonly shell: Shell;
  /** What goes to the task's stdin, which then ends; undefined: nothing is said of its input. */
  readonly input: ((signal: AbortSignal) => AsyncIterable<Uint8Array>) | undefined;
  /** What a first signal does: it cancels the task, which a second one hurries, or leaves it alone. */
  readonly onSignal: "cancel" | "leave";
  /** Takes each frame in place of writing output. */
  readonly show?: (frame: StreamTaskResponse) => Promise<void>;
}

type Frame = MessageInitShape<typeof StreamTaskRequestSchema>;

/**
 * Shows a task's output until it has ended, and gives the exit code that says how. A lost connection is made again, and
 * the output goes on where it was; what is read of stdin then is lost, so that ends it.
 */
export async function followTask(client: Client, following: Following): Promise<number> {
  return await new FollowedTask(client, following).run();
}

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Codes of errors that say that a time was over. */
const LATE: ReadonlySet<string> = new Set(["TIMEOUT", "DEADLINE_EXCEEDED", "EXECUTION_TIME_EXCEEDED"]);

class FollowedTask {
  readonly #client: Client;
  readonly #following: Following;
  readonly #left = new AbortController();
  /** Ends with the stream: nothing more of stdin is read. */
  readonly #over = new AbortController();
  #signalled: StopSignal | undefined;
  #isHurried = false;
  /** The byte of its output behind what was shown. */
  #offset = 0n;

  constructor(client: Client, following: Following) {
    this.#client = client;
    this.#following = following;
  }

  async run(): Promise<number> {
    const { shell } = this.#following;
    using _signals = shell.onSignals(SIGNALS, (signal) => this.#signal(signal));
    try {
      for (let failures = 0; ; ) {
        const before = this.#offset;
        const exitCode = await this.#stream();
        if (exitCode !== undefined) return exitCode;
        failures = this.#offset > before ? 1 : failures + 1;
        const maxMs = this.#client.reconnect.intervalMs;
        await pause(backoffMs(failures, { maxMs, random: Math.random() }), this.#left.signal);
      }
    } catch (error) {
      if (this.#left.signal.aborted && this.#signalled !== undefined)
        return SIGNAL_EXIT_CODES[this.#signalled];
      throw error;
    } finally {
      this.#over.abort();
    }
  }

  /** One stream, to the task's end; undefined when its connection was lost and another can take its place. */
  async #stream(): Promise<number | undefined> {
    const { taskId, input } = this.#following;
    try {
      await using answers = this.#client.agent.streamTask(this.#frames(), { signal: this.#left.signal });
      for await (const answer of answers) {
        const exitCode = await this.#take(answer);
        if (exitCode !== undefined) return exitCode;
      }
      throw new Failure("internal", `Cannot tell how task "${taskId}" ended: the server did not say it`);
    } catch (error) {
      const failure = Failure.from(error);
      if (failure?.details.reason !== CONNECTION_LOST) throw error;
      if (input === undefined) return undefined;
      const message = `Cannot go on with task "${taskId}": the connection was lost, and with it a part of its input; "baaaht task watch ${taskId}" shows its output`;
      throw new Failure("unavailable", message, { ...failure.details });
    }
  }

  async *#frames(): AsyncGenerator<Frame, void, undefined> {
    const { taskId, input } = this.#following;
    const first = { taskId, offset: this.#offset };
    if (input === undefined) {
      yield { ...first, payload: { case: "heartbeat", value: {} } };
    } else {
      yield { ...first, payload: { case: "input", value: {} } };
      for await (const data of input(this.#over.signal)) {
        if (this.#over.signal.aborted) return;
        yield { payload: { case: "input", value: { data } } };
      }
      yield { payload: { case: "input", value: { end: true } } };
    }
    await aborted(this.#over.signal);
  }

  async #take(answer: StreamTaskResponse): Promise<number | undefined> {
    const { show } = this.#following;
    const { payload } = answer;
    if (payload.case === "output") {
      const { data, text, offset } = payload.value;
      this.#offset = offset + BigInt(data.byteLength > 0 ? data.byteLength : Buffer.byteLength(text));
    }
    if (show !== undefined) await show(answer);
    switch (payload.case) {
      case "output":
        if (show === undefined) await this.#write(payload.value);
        return undefined;
      case "complete":
        return payload.value.result?.exitCode ?? 0;
      case "error":
        return await this.#failed(payload.value);
      default:
        return undefined;
    }
  }

  async #write({ data, text, streamType, missingBytes }: TaskOutput): Promise<void> {
    const { shell } = this.#following;
    if (missingBytes > 0n) await shell.err.write(`[${missingBytes} bytes of output are not kept]\n`);
    await (streamType === "stderr" ? shell.err : shell.out).write(data.byteLength > 0 ? data : text);
  }

  async #failed({ code, message }: TaskError): Promise<number> {
    if (this.#signalled !== undefined && code === "CANCELLED") return SIGNAL_EXIT_CODES[this.#signalled];
    if (LATE.has(code)) {
      await this.#following.shell.err.write(`The task was ended: ${message}\n`);
      return COMMAND_EXIT_CODES.timedOut;
    }
    throw new Failure(code === "CANCELLED" ? "cancelled" : "unknown", message, { reason: code });
  }

  #signal(signal: StopSignal): void {
    const { shell, taskId, onSignal } = this.#following;
    if (onSignal === "leave") {
      if (this.#signalled !== undefined) shell.endNow(SIGNAL_EXIT_CODES[signal]);
      this.#signalled = signal;
      this.#left.abort();
      return;
    }
    if (this.#isHurried) shell.endNow(SIGNAL_EXIT_CODES[signal]);
    this.#isHurried = this.#signalled !== undefined;
    this.#signalled = signal;
    const request = { taskId, reason: `its caller was ended by ${signal}`, force: this.#isHurried };
    // One that can't be cancelled any more has ended, which the stream says.
    this.#client.agent.cancelTask(request).catch(() => this.#left.abort());
  }
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  signal.addEventListener("abort", () => resolve(), { once: true });
  await promise;
}
