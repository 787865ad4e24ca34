import type { ContainerId } from "../containers/container.ts";
import type { Containers } from "../containers/containers.ts";
import type { EventLog } from "../events/log.ts";
import { Failure, invalid } from "../failure.ts";
import {
  ContainerState,
  LogStream,
  type OrchestratorService,
  type StreamContainerLogsRequest,
} from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import type { LogOptions } from "../runtime/runtime.ts";
import type { SessionId } from "../sessions/session.ts";
import { askedBy } from "./asked-by.ts";
import type { Handlers } from "./handlers.ts";
import { pageOf, tokenOf } from "./paging.ts";
import { checkedKey } from "./session-calls.ts";
import {
  containerConfigOf,
  containerFilterOf,
  pullPolicyOf,
  toWireContainer,
  toWireContainerState,
} from "./wire-container.ts";
import { count32, instantOf, millisecondsOf, requiredId, timestamp } from "./wire-values.ts";

export interface ContainerCallParts {
  readonly containers: Containers;
  readonly log: EventLog;
  readonly maxPageSize: number;
  readonly maxKeyLength: number;
}

/** The longest time between SIGTERM and SIGKILL, in milliseconds. */
const maxGraceMs = 3_600_000;

/** OrchestratorService's calls about containers, but for what runs inside them. */
export function containerCalls(parts: ContainerCallParts): Handlers<typeof OrchestratorService> {
  const { containers, log, maxPageSize } = parts;
  return {
    createContainer: async (request, call) => {
      const creating = {
        sessionId: requiredId<SessionId>(request.sessionId, "session_id"),
        config: containerConfigOf(request.config),
        pull: pullPolicyOf(request.pull),
        idempotencyKey: checkedKey(request.idempotencyKey, parts.maxKeyLength),
      };
      const view = await containers.create(creating, askedBy(call));
      return { containerId: view.container.id, container: toWireContainer(view) };
    },

    getContainer: async (request) => {
      const id = requiredId<ContainerId>(request.containerId, "container_id");
      return { container: toWireContainer(await containers.get(id)) };
    },

    listContainers: async (request) => {
      const filter = containerFilterOf(request.filter);
      // A page token of sessions with a filter of the same form must not pass for one of containers.
      const paged = { maxPageSize, filter: { list: "containers", ...filter } };
      const listing = await containers.list({ filter, ...pageOf(request, paged) });
      return {
        containers: listing.rows.map(toWireContainer),
        totalCount: count32(listing.total),
        nextPageToken: tokenOf(listing.next, paged.filter),
        cursor: log.cursor(listing.position),
      };
    },

    stopContainer: async (request, call) => {
      const id = requiredId<ContainerId>(request.containerId, "container_id");
      const view = await containers.stop(id, { graceMs: graceOf(request.timeoutNs) }, askedBy(call));
      return { containerId: id, state: toWireContainerState(view) };
    },

    removeContainer: async (request, call) => {
      const id = requiredId<ContainerId>(request.containerId, "container_id");
      const how = request.abandon ? "abandon" : request.force ? "force" : "stopped_only";
      await containers.remove(id, { how }, askedBy(call));
      return { containerId: id };
    },

    waitContainer: async (request, call) => {
      const id = requiredId<ContainerId>(request.containerId, "container_id");
      const ended = await containers.wait(id, askedBy(call));
      if (ended.kind === "removed") {
        throw new Failure(
          "not_found",
          `Cannot wait for container "${id}": it was removed (${ended.reason})`,
          {
            reason: "CONTAINER_REMOVED",
            metadata: { container_id: id },
          },
        );
      }
      return {
        containerId: id,
        state: ContainerState.EXITED,
        exitCode: ended.exitCode,
        oomKilled: ended.oomKilled,
        exitedAt: timestamp(ended.exitedAt),
        stateReason: ended.reason,
      };
    },

    streamContainerLogs: async function* (request, call) {
      const id = requiredId<ContainerId>(request.containerId, "container_id");
      const chunks = await containers.logs(id, logOptionsOf(request), askedBy(call));
      call.open();
      for await (const chunk of chunks) {
        yield {
          stream: chunk.stream === "stdout" ? LogStream.STDOUT : LogStream.STDERR,
          data: chunk.data,
          ...(chunk.at === undefined ? {} : { timestamp: timestamp(chunk.at) }),
        };
      }
    },
  };
}

function graceOf(timeoutNs: bigint): number | undefined {
  if (timeoutNs === 0n) return undefined;
  const graceMs = millisecondsOf(timeoutNs, "timeout_ns");
  if (graceMs <= maxGraceMs) return graceMs;
  throw invalid("stop the container", [{ field: "timeout_ns", description: "is over an hour" }]);
}

function logOptionsOf(request: StreamContainerLogsRequest): LogOptions {
  const { tail, stdout, stderr } = request;
  if (tail !== undefined && tail < 0) {
    throw invalid("read the logs", [
      { field: "tail", description: `is ${tail}; leave it out for all lines` },
    ]);
  }
  const since = instantOf(request.since, "since");
  const until = instantOf(request.until, "until");
  return {
    follow: request.follow,
    ...(tail === undefined ? {} : { tail }),
    ...(since === undefined ? {} : { since }),
    ...(until === undefined ? {} : { until }),
    timestamps: request.timestamps,
    stdout: stdout || !stderr,
    stderr: stderr || !stdout,
  };
}
