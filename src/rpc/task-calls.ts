import type { Call as DomainCall } from "../call.ts";
import type { EventLog } from "../events/log.ts";
import { Failure, invalid } from "../failure.ts";
import {
  type AgentService,
  type ExecuteTaskRequest,
  type StreamTaskRequest,
  StreamTaskResponseSchema,
} from "../gen/proto/agent/v1/agent_pb.ts";
import type { Piece } from "../tasks/piece.ts";
import type { TaskId } from "../tasks/task.ts";
import type { TaskAnswer, TaskFrame } from "../tasks/task-frames.ts";
import type { TaskStreams } from "../tasks/task-streams.ts";
import type { Tasks } from "../tasks/tasks.ts";
import { presentedToken } from "./agent-headers.ts";
import { askedBy } from "./asked-by.ts";
import type { Call } from "./call.ts";
import { type Encoded, encode } from "./encoded.ts";
import type { Answer, Handlers } from "./handlers.ts";
import { pageOf, tokenOf } from "./paging.ts";
import { checkedKey } from "./session-calls.ts";
import {
  askedTaskOf,
  taskFilterOf,
  taskFrameOf,
  toWireAnswer,
  toWireState,
  toWireTask,
} from "./wire-task.ts";
import { count32, requiredId } from "./wire-values.ts";

export interface TaskCallParts {
  readonly tasks: Tasks;
  readonly streams: TaskStreams;
  readonly log: EventLog;
  readonly clock: () => number;
  readonly maxPageSize: number;
  /** The longest idempotency key, in UTF-16 units. */
  readonly maxKeyLength: number;
}

/** By which a worker says for which attempt it speaks. */
const attemptHeader = "x-baaaht-attempt";

/** AgentService's calls about tasks. */
export function taskCalls(parts: TaskCallParts): Handlers<typeof AgentService> {
  const { tasks, streams, log, clock, maxPageSize } = parts;
  return {
    executeTask: (request, call) => accepted(parts, request, askedBy(call)),

    streamTask: async function* (requests, call) {
      const frames = requests[Symbol.asyncIterator]();
      const first = await frames.next();
      const id = requiredId<TaskId>(first.done ? "" : first.value.taskId, "task_id");
      const opening = {
        opener: {
          token: presentedToken(call),
          attempt: attemptOf(call),
          pid: call.caller.process?.pid,
        },
        offset: first.done ? 0 : offsetOf(first.value.offset),
        frames: framesOf(id, { first: first.value, rest: { [Symbol.asyncIterator]: () => frames }, clock }),
        opened: (headers: Readonly<Record<string, string>>) => call.open(headers),
        call: askedBy(call),
      };
      yield* resumable(id, streams.serve(id, opening), call);
    },

    cancelTask: async (request, call) => {
      const id = requiredId<TaskId>(request.taskId, "task_id");
      const how = request.force ? "force" : "graceful";
      const { task, isCancelled } = await tasks.cancel(id, { reason: request.reason, how }, askedBy(call));
      return { taskId: id, state: toWireState(task.life.state), cancelled: isCancelled };
    },

    listTasks: async (request) => {
      const filter = taskFilterOf(request.agentId, request.filter);
      const paged = { maxPageSize, filter: { list: "tasks", ...filter } };
      const listing = await tasks.list({ filter, ...pageOf(request, paged) });
      return {
        tasks: listing.rows.map((task) => toWireTask(tasks.viewOf(task))),
        totalCount: count32(listing.total),
        nextPageToken: tokenOf(listing.next, paged.filter),
        cursor: log.cursor(listing.position),
      };
    },

    getTaskStatus: async (request) => ({
      task: toWireTask(await tasks.view(requiredId<TaskId>(request.taskId, "task_id"))),
    }),
  };
}

/** Has a task accepted. Failures: as `Tasks.execute`; INVALID_ARGUMENT. */
export async function accepted(parts: TaskCallParts, request: ExecuteTaskRequest, by: DomainCall) {
  const { tasks, maxKeyLength } = parts;
  const task = await tasks.execute(
    askedTaskOf(request, checkedKey(request.idempotencyKey, maxKeyLength)),
    by,
  );
  return { taskId: task.id, task: toWireTask(tasks.viewOf(task)) };
}

function attemptOf(call: Call): number | undefined {
  const text = call.metadata.get(attemptHeader);
  if (text === undefined) return undefined;
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  const description = `is "${text.slice(0, 64)}"; the number of an attempt is allowed`;
  throw invalid("open the stream of a task", [{ field: attemptHeader, description }]);
}

export function offsetOf(wire: bigint): number {
  if (wire >= 0n && wire <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(wire);
  throw invalid("open the stream of a task", [
    { field: "offset", description: `is ${wire}, which is no place in any output` },
  ]);
}

/** What the frames of a stream say. */
async function* framesOf(
  id: TaskId,
  frames: {
    readonly first: StreamTaskRequest | undefined;
    readonly rest: AsyncIterable<StreamTaskRequest>;
    readonly clock: () => number;
  },
): AsyncGenerator<TaskFrame> {
  const { first, rest, clock } = frames;
  if (first !== undefined) yield taskFrameOf(first, clock());
  for await (const frame of rest) {
    if (frame.taskId !== "" && frame.taskId !== id) {
      const description = `is another than that of the first frame; it is "${id}" or empty on this stream`;
      throw invalid("take a frame", [{ field: "task_id", description }]);
    }
    yield taskFrameOf(frame, clock());
  }
}

/** Answers for a client that is told where to go on when it has not read. */
async function* resumable(
  id: TaskId,
  answers: AsyncIterable<TaskAnswer>,
  call: Call,
): AsyncGenerator<Answer<typeof StreamTaskResponseSchema>> {
  call.onStalled = () => notRead(id, 0);
  for await (const answer of answers) {
    if (answer.kind === "output") call.onStalled = () => notRead(id, answer.piece.offset);
    yield answer.kind === "output" && answer.missing === 0
      ? encodedPiece(answer.piece)
      : toWireAnswer(answer);
  }
}

/** A piece that several read is encoded once. */
const encodings = new WeakMap<Piece, Encoded>();

function encodedPiece(piece: Piece): Encoded {
  const known =
    encodings.get(piece) ??
    encode(StreamTaskResponseSchema, toWireAnswer({ kind: "output", piece, missing: 0 }));
  encodings.set(piece, known);
  return known;
}

function notRead(id: TaskId, offset: number): Failure {
  return new Failure(
    "resource_exhausted",
    `Cannot go on with the stream of task "${id}": the client does not read; open it again at byte ${offset} of its output`,
    { reason: "STREAM_NOT_READ", metadata: { task_id: id, offset: String(offset) } },
  );
}
