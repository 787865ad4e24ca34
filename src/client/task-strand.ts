import type { MessageInitShape } from "@bufbuild/protobuf";
import { Failure } from "../failure.ts";
import type {
  ExecuteTaskRequestSchema,
  ExecuteTaskResponse,
  StrandOpeningSchema,
  StrandRequestSchema,
  StrandResponse,
  StreamTaskRequestSchema,
  StreamTaskResponse,
} from "../gen/proto/agent/v1/agent_pb.ts";
import type { Answers } from "./answers.ts";
import type { Headers } from "./call-options.ts";
import { failureIn } from "./status-failure.ts";

type Frame = MessageInitShape<typeof StreamTaskRequestSchema>;
type Step = NonNullable<MessageInitShape<typeof StrandRequestSchema>["step"]>;

/** The reason of the Failures that say that more was to go over a strand than it takes. */
const STRAND_FULL = "STRAND_FULL";

/** How many bytes of frames a strand takes, and what a frame counts for besides its bytes. */
const STRAND_BYTES = 65_536;
const FRAME_BYTES = 64;
/** What has more than this goes alone: it would make the others wait that share its stream. */
const LARGEST_FRAME = 1024 * 1024;

/** Whether a strand has failed in a way that a StreamTask of the same would not. */
export function isBeyondStrands(error: unknown): boolean {
  const failure = Failure.from(error);
  if (failure?.kind === "unimplemented") return true; // the server is older than they are
  return failure?.details.reason === STRAND_FULL || failure?.details.reason === "TOO_MANY_STRANDS";
}

/** One task's part of a stream of many: what a StreamTask of its own would be. Read once. */
export class TaskStrand implements Answers<StreamTaskResponse>, AsyncIterator<StreamTaskResponse> {
  readonly #say: (step: Step, bytes?: number) => Promise<void>;
  readonly #accepted = Promise.withResolvers<ExecuteTaskResponse>();
  readonly #opened = Promise.withResolvers<Headers>();
  readonly #unread: StreamTaskResponse[] = [];
  #reader: PromiseWithResolvers<IteratorResult<StreamTaskResponse, undefined>> | undefined;
  #end: { readonly error: unknown } | "open" | "well" = "open";
  #sentBytes = 0;
  /** Why it was left, while the server has not ended it yet. */
  #left: Failure | undefined;

  /** @param say puts a step, of so many bytes, on the stream; done when it is on its way */
  constructor(say: (step: Step, bytes?: number) => Promise<void>) {
    this.#say = say;
    // Whoever waits for neither learns of the failure by reading.
    this.#accepted.promise.catch(() => {});
    this.#opened.promise.catch(() => {});
  }

  /** The task, once it is accepted, of a strand that was begun to have it so. */
  get accepted(): Promise<ExecuteTaskResponse> {
    return this.#accepted.promise;
  }

  get ended(): boolean {
    return this.#end !== "open";
  }

  started(): Promise<Headers> {
    return this.#opened.promise;
  }

  /** Begins it by a new task. */
  execute(request: MessageInitShape<typeof ExecuteTaskRequestSchema>): void {
    const bytes = request.config?.inputData?.byteLength ?? 0;
    if (bytes > LARGEST_FRAME) this.finish({ error: full() });
    else void this.#say({ case: "execute", value: request }, bytes);
  }

  /** Begins it on a task that is there. */
  open(opening: MessageInitShape<typeof StrandOpeningSchema>): void {
    void this.#say({ case: "open", value: opening });
  }

  /**
   * Sends a frame; done when it is on its way. One too many has the server end the strand, and then it has failed as
   * `isBeyondStrands` says: the StreamTask that goes on with it would otherwise overtake what is on its way, and be replaced.
   */
  async send(frame: Frame): Promise<void> {
    if (this.#isSilent) return;
    const bytes = bytesIn(frame);
    if (this.#sentBytes >= STRAND_BYTES || bytes > LARGEST_FRAME) {
      this.#left = full();
      void this.#say({ case: "leave", value: {} });
      return;
    }
    this.#sentBytes += FRAME_BYTES + bytes;
    await this.#say({ case: "frame", value: frame }, bytes);
  }

  /** Sends all frames, and then that there are no more. An error that they throw ends the strand with it. Throws nothing. */
  async sendAll(frames: AsyncIterable<Frame>): Promise<void> {
    try {
      for await (const frame of frames) {
        await this.send(frame);
        if (this.#isSilent) return;
      }
      if (!this.#isSilent) await this.#say({ case: "halfClose", value: {} });
    } catch (error) {
      this.leave(error);
    }
  }

  async next(): Promise<IteratorResult<StreamTaskResponse, undefined>> {
    const frame = this.#unread.shift();
    if (frame !== undefined) return { done: false, value: frame };
    if (this.#end === "well") return DONE;
    if (this.#end !== "open") throw this.#end.error;
    this.#reader = Promise.withResolvers();
    return await this.#reader.promise;
  }

  async return(): Promise<IteratorResult<StreamTaskResponse, undefined>> {
    if (this.ended) return DONE;
    this.leave(new Failure("cancelled", "Cannot read on in the strand: its reader has left"));
    return DONE;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  /** Takes what the server says on it. */
  take(step: StrandResponse["step"]): void {
    switch (step.case) {
      case "accepted":
        this.#accepted.resolve(step.value);
        this.#opened.resolve(new Map());
        return;
      case "opened": {
        const { attempt, outputBytes } = step.value;
        const headers = [
          ["x-baaaht-attempt", String(attempt)],
          ["x-baaaht-output-bytes", String(outputBytes)],
        ] as const;
        this.#opened.resolve(new Map(attempt === 0 ? [] : headers));
        return;
      }
      case "frame":
        this.#give(step.value);
        return;
      case "end":
        this.finish(step.value.code === 0 ? "well" : { error: this.#left ?? failureIn(step.value) });
    }
  }

  /** The strand has ended; what has come before can still be read. */
  finish(end: "well" | { readonly error: unknown }): void {
    if (this.ended) return;
    this.#end = end;
    const error = end === "well" ? undefined : end.error;
    this.#accepted.reject(error ?? new Failure("internal", "Cannot execute a task: the strand ended before"));
    if (end === "well") this.#opened.resolve(new Map());
    else this.#opened.reject(error);
    const reader = this.#reader;
    this.#reader = undefined;
    if (end === "well") reader?.resolve(DONE);
    else reader?.reject(error);
  }

  /** Wants no more of it; whoever reads it gets `error`. */
  leave(error: unknown): void {
    if (this.ended) return;
    this.#unread.length = 0;
    void this.#say({ case: "leave", value: {} });
    this.finish({ error });
  }

  /** Whether it sends no more. */
  get #isSilent(): boolean {
    return this.ended || this.#left !== undefined;
  }

  #give(frame: StreamTaskResponse): void {
    if (this.ended) return;
    const reader = this.#reader;
    this.#reader = undefined;
    if (reader === undefined) this.#unread.push(frame);
    else reader.resolve({ done: false, value: frame });
  }
}

const DONE: IteratorReturnResult<undefined> = { done: true, value: undefined };

/** The large parts of a frame. */
function bytesIn({ payload }: Frame): number {
  switch (payload?.case) {
    case "input":
      return payload.value.data?.byteLength ?? 0;
    case "output":
      return (payload.value.data?.byteLength ?? 0) + Buffer.byteLength(payload.value.text ?? "");
    case "complete": {
      const { outputData, outputText = "", errorText = "" } = payload.value.result ?? {};
      return (outputData?.byteLength ?? 0) + Buffer.byteLength(outputText) + Buffer.byteLength(errorText);
    }
    default:
      return 0;
  }
}

function full(): Failure {
  return new Failure("resource_exhausted", "Cannot go on with the strand: it takes no more", {
    reason: STRAND_FULL,
  });
}
