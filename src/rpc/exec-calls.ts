import type { ExecId, ExecOutput } from "../containers/execs/exec.ts";
import type { Execs } from "../containers/execs/execs.ts";
import type { EventLog } from "../events/log.ts";
import { Failure, invalid } from "../failure.ts";
import type {
  AttachExecRequest,
  ExecContainerRequest,
  OrchestratorService,
} from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { askedBy } from "./asked-by.ts";
import type { Call } from "./call.ts";
import type { Handlers } from "./handlers.ts";
import { pageOf, tokenOf } from "./paging.ts";
import { execFilterOf, execInputsOf, execStartOf, offsetOf, toWireExec, toWireOutput } from "./wire-exec.ts";
import { count32, requiredId } from "./wire-values.ts";

export interface ExecCallParts {
  readonly execs: Execs;
  readonly log: EventLog;
  readonly maxPageSize: number;
}

/** OrchestratorService's calls about commands in containers. */
export function execCalls(parts: ExecCallParts): Handlers<typeof OrchestratorService> {
  const { execs, log, maxPageSize } = parts;
  return {
    execContainer: async function* (requests, call) {
      const { start, rest } = await opened<ExecContainerRequest>(requests, "run a command");
      const wanted = execStartOf(start);
      const outputs = execs.run(wanted, execInputsOf(rest), askedBy(call));
      if (wanted.onDisconnect === "detach") yield* resumable(outputs, call);
      else for await (const output of outputs) yield toWireOutput(output);
    },

    attachExec: async function* (requests, call) {
      const { start, rest } = await opened<AttachExecRequest>(requests, "attach to a command");
      const id = requiredId<ExecId>(start.execId, "start.exec_id");
      const offset = offsetOf(start.offset, "start.offset");
      yield* resumable(execs.attach(id, { offset, input: execInputsOf(rest), call: askedBy(call) }), call);
    },

    getExec: async (request) => ({
      exec: toWireExec(await execs.get(requiredId<ExecId>(request.execId, "exec_id"))),
    }),

    listExecs: async (request) => {
      const filter = execFilterOf(request.filter);
      const paged = { maxPageSize, filter: { list: "execs", ...filter } };
      const listing = await execs.list({ filter, ...pageOf(request, paged) });
      return {
        execs: listing.rows.map(toWireExec),
        totalCount: count32(listing.total),
        nextPageToken: tokenOf(listing.next, paged.filter),
        cursor: log.cursor(listing.position),
      };
    },

    signalExec: async (request, call) => {
      const id = requiredId<ExecId>(request.execId, "exec_id");
      return { exec: toWireExec(await execs.signal(id, request.signal, askedBy(call))) };
    },
  };
}

/** The first frame, which has to be `start`, and the frames behind it. */
async function opened<
  Request extends { readonly payload: ExecContainerRequest["payload"] | AttachExecRequest["payload"] },
>(
  requests: AsyncIterable<Request>,
  doing: string,
): Promise<{
  readonly start: Extract<Request["payload"], { readonly case: "start" }>["value"];
  readonly rest: AsyncIterable<Request>;
}> {
  const frames = requests[Symbol.asyncIterator]();
  const first = await frames.next();
  const payload = first.done ? undefined : first.value.payload;
  if (payload?.case !== "start") {
    throw invalid(doing, [{ field: "start", description: "is missing; it has to be the first frame" }]);
  }
  return { start: payload.value, rest: { [Symbol.asyncIterator]: () => frames } };
}

/** Output for a client that is told where to go on when it has not read. */
async function* resumable(outputs: AsyncIterable<ExecOutput>, call: Call) {
  let id = "" as ExecId; // the first output is `started`, which has it
  for await (const output of outputs) {
    if (output.kind === "started") id = output.id;
    // Of what is on its way it is not known whether the client will read it: the place before it is safe.
    call.onStalled = () => notRead(id, output.offset);
    yield toWireOutput(output);
  }
}

function notRead(id: ExecId, offset: number): Failure {
  return new Failure(
    "resource_exhausted",
    `Cannot go on with command "${id}": the client does not read; attach again at byte ${offset} of its output or later`,
    { reason: "STREAM_NOT_READ", metadata: { exec_id: id, offset: String(offset) } },
  );
}
