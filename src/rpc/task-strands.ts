import type { MessageInitShape } from "@bufbuild/protobuf";
import { Bell } from "../events/bell.ts";
import { abortFailure, Failure, invalid } from "../failure.ts";
import type {
  AgentService,
  ExecuteTaskRequest,
  StrandOpening,
  StrandRequest,
  StrandResponseSchema,
  StreamTasksRequest,
  StreamTasksResponseSchema,
} from "../gen/proto/agent/v1/agent_pb.ts";
import type { OpenedStream } from "../tasks/opened-stream.ts";
import type { TaskId } from "../tasks/task.ts";
import { textLength } from "../text-length.ts";
import { presentedToken } from "./agent-headers.ts";
import type { Call } from "./call.ts";
import type { Handlers } from "./handlers.ts";
import { statusOf } from "./status.ts";
import { Strand } from "./strand.ts";
import { accepted, offsetOf, type TaskCallParts } from "./task-calls.ts";
import { taskFrameOf, toWireAnswer } from "./wire-task.ts";
import { requiredId } from "./wire-values.ts";

type Response = MessageInitShape<typeof StrandResponseSchema>;

/** How many strands may be open on one stream, and on all of them. */
const mostOfStream = 1_024;
const mostOfAll = 10_000;
/** How many steps a client may say in one message: all of them are taken at once, and everybody else waits for that. */
const mostTaken = 1_024;
/** How many steps wait for a client before no more is read of it. */
const mostWaiting = 1_024;
/** How many steps go into one message, and how many wait before those who have more to say are held back. */
const mostSteps = 64;
/** The bytes after which no more goes into the same message, and after which who has more to say is held back. */
const largeBytes = 1024 * 1024;

/** AgentService's call by which many tasks are spoken of on one stream. */
export function strandCalls(parts: TaskCallParts): Handlers<typeof AgentService> {
  const all = { open: 0 };
  return { streamTasks: (requests, call) => new TaskStrands(parts, call, all).answers(requests) };
}

/** The strands of one StreamTasks. */
class TaskStrands {
  readonly #parts: TaskCallParts;
  readonly #call: Call;
  /** Those of all streams. */
  readonly #all: { open: number };
  readonly #open = new Map<number, Strand>();
  readonly #serving = new Set<Promise<void>>();
  readonly #bell = new Bell();
  #steps: { readonly step: Response; readonly bytes: number }[] = [];
  /** Of all steps that wait. */
  #bytes = 0;
  #isDue = false;
  /** Wakes those that wait until some of the steps have left. */
  #haveLeft = Promise.withResolvers<void>();
  #halfClosed = false;
  /** Whether the stream is ending: nothing begins on it any more. */
  #closed = false;
  #wrong: { readonly error: unknown } | undefined;

  constructor(parts: TaskCallParts, call: Call, all: { open: number }) {
    this.#parts = parts;
    this.#call = call;
    this.#all = all;
  }

  async *answers(
    requests: AsyncIterable<StreamTasksRequest>,
  ): AsyncGenerator<MessageInitShape<typeof StreamTasksResponseSchema>, void, undefined> {
    const messages = requests[Symbol.asyncIterator]();
    this.#call.open();
    const reading = this.#read(messages);
    try {
      for (;;) {
        if (this.#wrong !== undefined) throw this.#wrong.error;
        const strands = this.#someSteps();
        if (strands.length > 0) {
          this.#haveLeft.resolve();
          this.#haveLeft = Promise.withResolvers();
          yield { strands };
          continue;
        }
        if (this.#halfClosed && this.#open.size === 0) return;
        await this.#bell.wait();
      }
    } finally {
      this.#closed = true;
      for (const strand of this.#open.values()) strand.leave(this.#wrong?.error ?? gone());
      this.#haveLeft.resolve();
      await messages.return?.();
      await Promise.all([reading, ...this.#serving]);
    }
  }

  /** Takes what comes, until the client says that no more does. Never rejects. */
  async #read(messages: AsyncIterator<StreamTasksRequest>): Promise<void> {
    try {
      for (let next = await messages.next(); next.done !== true; next = await messages.next()) {
        const { strands } = next.value;
        if (strands.length > mostTaken) throw tooManySteps(strands.length);
        for (const request of strands) this.#take(request);
        // What is not read has the client wait, as it has this one wait.
        while (!this.#closed && (this.#steps.length >= mostWaiting || this.#bytes >= largeBytes))
          await this.#haveLeft.promise;
      }
      this.#halfClosed = true;
      for (const strand of this.#open.values()) strand.halfClose();
    } catch (error) {
      this.#wrong ??= { error };
    }
    this.#bell.ring();
  }

  #take(request: StrandRequest): void {
    const { strand: number, step } = request;
    if (number < 1) throw wrongNumber(`is ${number}; a number from 1 up is allowed`);
    const strand = this.#open.get(number);
    switch (step.case) {
      case "execute":
      case "open":
        if (strand !== undefined) throw wrongNumber(`is ${number}, which is open`);
        this.#begin(request, step);
        return;
      case "frame":
        if (strand === undefined) return;
        try {
          strand.take(taskFrameOf(step.value, this.#parts.clock()));
        } catch (error) {
          strand.leave(error);
        }
        return;
      case "halfClose":
        strand?.halfClose();
        return;
      case "leave":
        strand?.leave(gone());
        return;
      case undefined:
        throw invalid("take a step of a strand", [{ field: "strands.step", description: "is missing" }]);
    }
  }

  #begin(request: StrandRequest, step: Begin): void {
    if (this.#closed) return; // nobody would have it end
    const { strand: number, correlationId } = request;
    const strand = new Strand({ number, actor: this.#call.caller.actor, correlationId });
    if (this.#open.size >= mostOfStream || this.#all.open >= mostOfAll) {
      this.#say({ strand: number, step: { case: "end", value: endOf(tooMany(), strand) } });
      return;
    }
    this.#open.set(number, strand);
    this.#all.open += 1;
    const serving = this.#serve(strand, step).finally(() => this.#serving.delete(serving));
    this.#serving.add(serving);
  }

  /** Never rejects: how a strand ends is told on it, and a defect ends the whole stream. */
  async #serve(strand: Strand, step: Begin): Promise<void> {
    let end: NonNullable<Response["step"]> = { case: "end", value: {} };
    try {
      await this.#answer(strand, step);
    } catch (error) {
      const { signal } = strand.call;
      const failure = Failure.from(error) ?? (signal.aborted ? abortFailure(signal) : undefined);
      if (failure === undefined) this.#wrong ??= { error };
      else end = { case: "end", value: endOf(failure, strand) };
    }
    strand.halfClose(); // whoever reads its frames would wait for its client
    this.#open.delete(strand.number);
    this.#all.open -= 1;
    this.#say({ strand: strand.number, step: end });
  }

  async #answer(strand: Strand, step: Begin): Promise<void> {
    const { streams } = this.#parts;
    const { number } = strand;
    let id: TaskId;
    if (step.case === "execute") {
      const value = await accepted(this.#parts, step.value, strand.call);
      this.#say({ strand: number, step: { case: "accepted", value } }, bytesIn(step.value));
      id = requiredId(value.taskId, "task_id");
    } else {
      id = requiredId(step.value.taskId, "open.task_id");
    }
    strand.take({ kind: "none" }); // which has it begin without waiting for a first frame
    for await (const answer of streams.serve(id, this.#opening(strand, step))) {
      const bytes = strand.give(answer);
      while (this.#isBusy && !strand.call.signal.aborted) await this.#haveLeft.promise;
      this.#say({ strand: number, step: { case: "frame", value: toWireAnswer(answer) } }, bytes);
    }
  }

  get #isBusy(): boolean {
    return this.#steps.length >= mostSteps || this.#bytes >= largeBytes;
  }

  #opening(strand: Strand, step: Begin): OpenedStream {
    const { number, call } = strand;
    const pid = this.#call.caller.process?.pid;
    if (step.case === "execute") {
      const opener = { token: undefined, attempt: undefined, pid };
      return { opener, offset: 0, frames: strand, opened: () => {}, call };
    }
    const attempt = attemptOf(step.value.attempt);
    return {
      opener: { token: attempt === undefined ? undefined : presentedToken(this.#call), attempt, pid },
      offset: offsetOf(step.value.offset),
      frames: strand,
      opened: once((headers) => {
        const value = {
          attempt: Number(headers["x-baaaht-attempt"] ?? 0),
          outputBytes: BigInt(headers["x-baaaht-output-bytes"] ?? 0),
        };
        this.#say({ strand: number, step: { case: "opened", value } });
      }),
      call,
    };
  }

  #someSteps(): Response[] {
    let count = 0;
    for (let bytes = 0; count < Math.min(mostSteps, this.#steps.length) && bytes < largeBytes; count += 1)
      bytes += this.#steps[count]?.bytes ?? 0;
    const some = this.#steps.splice(0, count);
    for (const { bytes } of some) this.#bytes -= bytes;
    return some.map(({ step }) => step);
  }

  /** Says it together with all else that this turn of the event loop has to say. */
  #say(step: Response, bytes = 0): void {
    this.#steps.push({ step, bytes });
    this.#bytes += bytes;
    if (this.#isDue) return;
    this.#isDue = true;
    setImmediate(this.#leave);
  }

  readonly #leave = (): void => {
    this.#isDue = false;
    this.#bell.ring();
  };
}

type Begin =
  | { readonly case: "execute"; readonly value: ExecuteTaskRequest }
  | { readonly case: "open"; readonly value: StrandOpening };

/** About as many as its task has, of which the client is told. */
function bytesIn({ config }: ExecuteTaskRequest): number {
  if (config === undefined) return 0;
  const { inputData, ...texts } = config;
  return inputData.byteLength + textLength(texts);
}

function attemptOf(wire: number): number | undefined {
  if (wire >= 0) return wire === 0 ? undefined : wire;
  const description = `is ${wire}; the number of an attempt is allowed`;
  throw invalid("open the stream of a task", [{ field: "open.attempt", description }]);
}

function once<Value>(tell: (value: Value) => void): (value: Value) => void {
  let told = false;
  return (value) => {
    if (!told) tell(value);
    told = true;
  };
}

function endOf(failure: Failure, strand: Strand) {
  const { code, details: message, metadata } = statusOf(failure, strand.call.correlationId);
  const [details] = metadata.get("grpc-status-details-bin");
  return { code, message, ...(details instanceof Buffer ? { details } : {}) };
}

function wrongNumber(description: string): Failure {
  return invalid("take a step of a strand", [{ field: "strands.strand", description }]);
}

function tooManySteps(count: number): Failure {
  const description = `has ${count} steps; at most ${mostTaken} are allowed in one message`;
  return invalid("take the steps of strands", [{ field: "strands", description }]);
}

function gone(): Failure {
  return new Failure("cancelled", "Cannot go on with the strand: its client has left it");
}

function tooMany(): Failure {
  return new Failure(
    "resource_exhausted",
    `Cannot begin a strand: ${mostOfStream} are open on this stream or ${mostOfAll} on all, which is the most`,
    { reason: "TOO_MANY_STRANDS", retryAfterMs: 1_000 },
  );
}
