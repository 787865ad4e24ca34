import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Answers } from "../client/answers.ts";
import { backoffMs, pause } from "../client/backoff.ts";
import type { Headers } from "../client/call-options.ts";
import type { Client } from "../client/client.ts";
import { isBeyondStrands } from "../client/task-strand.ts";
import type { TaskStrands } from "../client/task-strands.ts";
import { abortFailure, Failure } from "../failure.ts";
import {
  type StreamTaskRequestSchema,
  type StreamTaskResponse,
  TaskState,
} from "../gen/proto/agent/v1/agent_pb.ts";
import { InputQueue } from "./input-queue.ts";
import { Outgoing } from "./outgoing.ts";
import { TaskEnded } from "./running-task.ts";
import { type Piece, SentOutput } from "./sent-output.ts";

type Frame = MessageInitShape<typeof StreamTaskRequestSchema>;

/** Of a task's input that nobody has read, bytes: then its callers wait. */
const MAX_INPUT_BYTES = 1024 * 1024;

export interface TaskStreamOptions {
  readonly taskId: string;
  /** As the server has named it when it handed out the task; empty: whichever is in force. */
  readonly attempt: string;
  /** Of the call, so that the server knows whose stream it is. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Where tasks that have little to say need no call of their own. */
  readonly strands: TaskStrands;
  /** Told at once when the server says that the task has ended; perhaps again when that is hurried. */
  readonly told: (end: TaskEnded) => void;
}

/** The worker's end of one StreamTask, opened again whenever its connection is lost. */
export class TaskStream {
  /** What the task's callers send. */
  readonly input = new InputQueue(MAX_INPUT_BYTES);
  readonly #client: Client;
  readonly #taskId: string;
  readonly #metadata: Readonly<Record<string, string>>;
  readonly #told: (end: TaskEnded) => void;
  readonly #strands: TaskStrands;
  /** Whether it has a call of its own. */
  #isAlone = false;
  readonly #outgoing = new Outgoing<Frame>();
  readonly #sent = new SentOutput();
  /** The attempt that this is, once it is known; a stream that comes back says that it is the same. */
  #attempt: string;
  /** Up to which byte the task's input has come, as the server counts: a stream that comes back goes on there. */
  #inputEnd = 0;
  readonly #opened = Promise.withResolvers<void>();

  constructor(client: Client, of: TaskStreamOptions) {
    this.#client = client;
    this.#taskId = of.taskId;
    this.#metadata = of.metadata;
    this.#attempt = of.attempt;
    this.#told = of.told;
    this.#strands = of.strands;
    this.#opened.promise.catch(() => undefined); // whoever does not wait for it learns the same from follow()
  }

  /** Empty until the server has named it. */
  get attempt(): string {
    return this.#attempt;
  }

  /** Done when the server has taken this worker for the task's; rejects when it does not. */
  get opened(): Promise<void> {
    return this.#opened.promise;
  }

  /** Done when it is on its way. */
  async output(data: Uint8Array, streamType: string): Promise<void> {
    await this.#outgoing.send(outputFrame({ data, streamType }), () => this.#sent.add({ data, streamType }));
  }

  /** Done when the frame is on its way. */
  send(payload: NonNullable<Frame["payload"]>): Promise<void> {
    return this.#outgoing.send({ payload });
  }

  /** Sends how it ended behind everything else, and half-closes. */
  finish(payload: NonNullable<Frame["payload"]>): void {
    this.#outgoing.finish({ payload });
  }

  /** Half-closes without saying how it ended. */
  leave(): void {
    this.#outgoing.close();
  }

  /**
   * Speaks with the server until it ends the stream.
   *
   * Failures: what it ends the stream with, when it does not have this worker do the task; the signal's.
   */
  async follow(signal: AbortSignal): Promise<void> {
    try {
      await this.#followOver(signal);
      this.#opened.resolve();
    } catch (error) {
      this.#opened.reject(error);
      throw error;
    } finally {
      this.#outgoing.close();
      this.input.end();
    }
  }

  async #followOver(signal: AbortSignal): Promise<void> {
    for (let failures = 0; ; ) {
      try {
        return await this.#connection(signal, () => {
          failures = 0;
          this.#opened.resolve();
        });
      } catch (error) {
        if (!this.#isAlone && isBeyondStrands(error) && !signal.aborted) {
          this.#isAlone = true;
          continue;
        }
        if (Failure.from(error)?.kind !== "unavailable" || signal.aborted) throw error;
        failures += 1;
        const maxMs = this.#client.reconnect.intervalMs;
        await pause(backoffMs(failures, { maxMs, random: Math.random() }), signal);
      }
    }
  }

  async #connection(signal: AbortSignal, opened: () => void): Promise<void> {
    const headers = Promise.withResolvers<Headers>();
    headers.promise.catch(() => undefined); // the frames may never have come to need them
    await using answers = this.#begin(headers.promise, signal);
    answers.started().then(headers.resolve, headers.reject);
    this.#attempt ||= (await headers.promise).get(ATTEMPT_HEADER) ?? "";
    opened();
    for await (const answer of answers) {
      // How the task ended is no news to who has said it.
      const over = this.#outgoing.isFinished ? undefined : endOf(answer);
      if (over !== undefined) {
        this.input.end();
        this.#told(over);
      }
      if (answer.payload.case !== "output" || answer.payload.value.streamType !== STDIN) continue;
      const { data, text, offset, end: isLast } = answer.payload.value;
      const bytes = data.byteLength > 0 ? data : new TextEncoder().encode(text);
      // What is not kept any more was passed over; a piece without a byte, of which only its metadata says something, counts one.
      this.#inputEnd = Math.max(this.#inputEnd, Number(offset)) + Math.max(1, bytes.byteLength);
      await this.input.push(bytes);
      if (isLast) this.input.end();
    }
  }

  /** One call of its own, or a strand of the call that short tasks share. */
  #begin(headers: Promise<Headers>, signal: AbortSignal): Answers<StreamTaskResponse> {
    const taskId = this.#taskId;
    const offset = BigInt(this.#inputEnd);
    this.#isAlone ||= this.#attempt === "" || this.#strands.served === "no";
    if (this.#isAlone) {
      const first: Frame = { taskId, offset, payload: { case: "heartbeat", value: {} } };
      return this.#client.agent.streamTask(this.#frames(headers, first), {
        signal,
        metadata: { ...this.#metadata, ...(this.#attempt !== "" && { [ATTEMPT_HEADER]: this.#attempt }) },
        waitForReady: false, // the pauses between attempts are ours
      });
    }
    const strand = this.#strands.open({ taskId, offset, attempt: Number(this.#attempt) });
    signal.addEventListener("abort", () => strand.leave(abortFailure(signal)), { once: true });
    void strand.sendAll(this.#frames(headers));
    return strand;
  }

  /** For one connection: who it is, what of the output the server has missed, then what is new. */
  async *#frames(headers: Promise<Headers>, first?: Frame): AsyncGenerator<Frame, void, undefined> {
    // What the connection before it took while this one sends again what was missed would be lost.
    const fresh = this.#outgoing.connection();
    if (first !== undefined) yield first;
    // Before anything was sent there is nothing that could be missed, and what goes to a server that does not know of
    // strands is.
    if (!this.#sent.isEmpty || this.#strands.served !== "yes") {
      const got = (await headers).get(OUTPUT_BYTES_HEADER);
      if (got !== undefined) for (const piece of this.#sent.behind(Number(got))) yield outputFrame(piece);
    }
    yield* fresh;
  }
}

/** Which attempt a worker's stream is for, in its metadata and in the response headers. */
const ATTEMPT_HEADER = "x-baaaht-attempt";

/** How many bytes of an attempt's output the server has, in the response headers of its worker. */
const OUTPUT_BYTES_HEADER = "x-baaaht-output-bytes";

/** What the server calls input when it hands it to the worker. */
const STDIN = "stdin";

/** Text as text, which is what callers show, and everything else as bytes. */
function outputFrame({ data, streamType }: Piece): Frame {
  try {
    return { payload: { case: "output", value: { text: STRICT.decode(data), streamType } } };
  } catch {
    return { payload: { case: "output", value: { data, streamType } } };
  }
}

const STRICT = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** What an answer says of the task's end, if it says that. */
function endOf({ payload }: StreamTaskResponse): TaskEnded | undefined {
  switch (payload.case) {
    case "status":
      return endOfState(payload.value.state, payload.value.message);
    case "error":
      return new TaskEnded("lost", payload.value.message);
    case "complete":
      return new TaskEnded("lost", "it has ended");
    default:
      return undefined;
  }
}

function endOfState(state: TaskState, message: string): TaskEnded | undefined {
  switch (state) {
    case TaskState.CANCELLED:
      return new TaskEnded("cancelled", message || "it was cancelled");
    case TaskState.TIMEOUT:
      return new TaskEnded("timed_out", message || "its time is over");
    case TaskState.COMPLETED:
    case TaskState.FAILED:
      return new TaskEnded("lost", message || "it has ended");
    default:
      return undefined;
  }
}
