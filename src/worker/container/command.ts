import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Answers } from "../../client/answers.ts";
import { backoffMs, pause } from "../../client/backoff.ts";
import type { Client } from "../../client/client.ts";
import type { ExecFrame } from "../../client/exec-frame.ts";
import { CONNECTION_LOST } from "../../client/status-failure.ts";
import { UNREACHABLE } from "../../client/unreachable.ts";
import { abortFailure, Failure } from "../../failure.ts";
import type {
  ExecContainerResponse,
  ExecEnd,
  ExecStartSchema,
} from "../../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { TaskEnded } from "../running-task.ts";

export interface CommandOptions {
  readonly start: MessageInitShape<typeof ExecStartSchema>;
  /** What goes to its stdin, which ends with it. */
  readonly stdin: AsyncIterable<Uint8Array>;
  readonly output: (data: Uint8Array, stream: "stdout" | "stderr") => Promise<void>;
  /** A task's: its abort sends SIGTERM, and `kill` is called when that does not help or nobody wants to wait. */
  readonly signal: AbortSignal;
  readonly kill: () => Promise<void>;
}

/** Reasons of failures that tell of a connection, and nothing of the command. */
const INTERRUPTIONS: ReadonlySet<string> = new Set([CONNECTION_LOST, UNREACHABLE, "SHUTTING_DOWN"]);

/** How long a command has to end by SIGTERM before its container is killed. Milliseconds; a server waits 5 s. */
const CANCEL_GRACE_MS = 3_000;

/**
 * Runs a command in a container, and gives how it ended. It goes on when the connection is lost, and is joined again where
 * its output was.
 *
 * Failures: what the server says when it can't be run; CANCELLED when the signal has ended it.
 */
export async function runCommand(client: Client, options: CommandOptions): Promise<ExecEnd> {
  return await new Command(client, options).run();
}

class Command {
  readonly #client: Client;
  readonly #options: CommandOptions;
  readonly #stdin: AsyncIterator<Uint8Array>;
  /** What is read of stdin and no connection has taken yet. */
  #next: Promise<IteratorResult<Uint8Array>> | undefined;
  /** Counts connections; the frames of one that is lost take nothing more. */
  #connections = 0;
  #execId: string | undefined;
  #mayHaveBegun = false;
  /** The place in its output behind what was passed on, bytes. */
  #offset = 0n;
  readonly #over = new AbortController();

  constructor(client: Client, options: CommandOptions) {
    this.#client = client;
    this.#options = options;
    this.#stdin = options.stdin[Symbol.asyncIterator]();
  }

  async run(): Promise<ExecEnd> {
    const { signal } = this.#options;
    if (signal.aborted) throw abortFailure(signal);
    const stop = () => void this.#stop();
    signal.addEventListener("abort", stop, { once: true });
    try {
      return await this.#follow();
    } finally {
      signal.removeEventListener("abort", stop);
      this.#over.abort();
      this.#stdin.return?.()?.catch(() => undefined); // not waited for: it may wait for input that nobody sends
    }
  }

  async #follow(): Promise<ExecEnd> {
    for (let failures = 0; ; ) {
      try {
        await using answers = await this.#connect();
        for await (const answer of answers) {
          failures = 0;
          const end = await this.#take(answer);
          if (end !== undefined) return end;
        }
        throw new Failure("internal", "Cannot follow the command: its stream ended before it did");
      } catch (error) {
        this.#connections += 1;
        const failure = Failure.from(error);
        if (failure?.details.reason === "OUTPUT_NOT_KEPT") {
          await this.#skip(failure);
        } else {
          const { signal } = this.#options;
          if (!INTERRUPTIONS.has(failure?.details.reason ?? "") || signal.aborted) throw error;
          failures += 1;
          const maxMs = this.#client.reconnect.intervalMs;
          await pause(backoffMs(failures, { maxMs, random: Math.random() }), signal);
        }
      }
    }
  }

  async #connect(): Promise<Answers<ExecContainerResponse>> {
    // Without its id nobody knows whether the server has begun it; in a container that is the task's own it is the only one.
    this.#execId ??= this.#mayHaveBegun ? await this.#findBegun() : undefined;
    const { orchestrator } = this.#client;
    if (this.#execId !== undefined) {
      const start = { execId: this.#execId, offset: this.#offset };
      return orchestrator.attachExec(this.#frames({ payload: { case: "start" as const, value: start } }), {
        waitForReady: true,
      });
    }
    this.#mayHaveBegun = true;
    const value = { ...this.#options.start, stdin: true, detachOnDisconnect: true };
    return orchestrator.execContainer(this.#frames({ payload: { case: "start" as const, value } }));
  }

  async #findBegun(): Promise<string | undefined> {
    const { containerId = "", command = [] } = this.#options.start;
    const { execs } = await this.#client.orchestrator.listExecs({ filter: { containerId } });
    return execs.find((exec) => exec.command[0] === command[0])?.id;
  }

  async #take({ payload, offset }: ExecContainerResponse): Promise<ExecEnd | undefined> {
    switch (payload.case) {
      case "started":
        this.#execId = payload.value.execId;
        if (this.#options.signal.aborted) void this.#stop();
        return undefined;
      case "stdout":
      case "stderr":
        this.#offset = offset + BigInt(payload.value.byteLength);
        await this.#options.output(payload.value, payload.case);
        return undefined;
      case "end":
        return payload.value;
      default:
        return undefined;
    }
  }

  /** Output was not read for so long that it is not kept any more. */
  async #skip(failure: Failure): Promise<void> {
    const oldest = BigInt(failure.details.metadata?.oldest_offset ?? this.#offset);
    const missing = `\n[${oldest - this.#offset} bytes of output are missing: they were not read in time]\n`;
    this.#offset = oldest;
    await this.#options.output(new TextEncoder().encode(missing), "stderr");
  }

  /** What is read of stdin and was not sent goes to the next connection. */
  async *#frames<Start>(start: Start): AsyncGenerator<Start | ExecFrame, void, undefined> {
    const mine = this.#connections;
    yield start;
    for (;;) {
      this.#next ??= this.#stdin.next();
      const { done, value } = await this.#next;
      if (mine !== this.#connections) return;
      if (done === true) break;
      yield { payload: { case: "stdin", value } };
      // Not before: a connection that has asked for more has sent it, one that is lost has not.
      if (mine === this.#connections) this.#next = undefined;
    }
    yield { payload: { case: "closeStdin", value: {} } };
    await aborted(this.#over.signal); // half-closing an attachment early would say nothing more
  }

  /** Has it end, because its task has ended. What fails here ends with its container, when the task is put away. */
  async #stop(): Promise<void> {
    const { signal, kill } = this.#options;
    const ended = TaskEnded.of(signal);
    if (ended?.how === "cancelled" && this.#execId !== undefined) {
      await this.#signal("TERM");
      await aborted(
        AbortSignal.any([this.#over.signal, ended.hurried, AbortSignal.timeout(CANCEL_GRACE_MS)]),
      );
    }
    if (this.#over.signal.aborted) return;
    await this.#signal("KILL");
    await kill();
  }

  async #signal(signal: "TERM" | "KILL"): Promise<void> {
    if (this.#execId === undefined) return;
    await this.#client.orchestrator.signalExec({ execId: this.#execId, signal }).catch(() => undefined);
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
