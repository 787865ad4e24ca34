import type { AgentId } from "../agents/agent.ts";
import type { Agents } from "../agents/agents.ts";
import type { LineInput, Lines } from "../agents/lines.ts";
import type { LineOutput } from "../agents/outbox.ts";
import type { Passing } from "../agents/passing.ts";
import { capabilitiesTogether } from "../agents/together.ts";
import type { EventLog } from "../events/log.ts";
import { invalid } from "../failure.ts";
import type { AgentService, StreamAgentRequest } from "../gen/proto/agent/v1/agent_pb.ts";
import type { TaskAgents } from "../tasks/task-agents.ts";
import { askedBy } from "./asked-by.ts";
import type { Call } from "./call.ts";
import type { Handlers } from "./handlers.ts";
import { pageOf, tokenOf } from "./paging.ts";
import { checkedKey } from "./session-calls.ts";
import {
  agentFilterOf,
  agentMetadataOf,
  agentTypeOf,
  capabilitiesOf,
  reportOf,
  toWireAgent,
  toWireCapabilities,
} from "./wire-agent.ts";
import { agentMessageOf, toWireAgentMessage } from "./wire-agent-message.ts";
import { count32, requiredId, timestamp } from "./wire-values.ts";

export interface AgentCallParts {
  readonly agents: Agents;
  readonly lines: Lines;
  readonly passing: Passing;
  readonly log: EventLog;
  readonly clock: () => number;
  readonly maxPageSize: number;
  /** The longest idempotency key, in UTF-16 units. */
  readonly maxKeyLength: number;
  readonly heartbeatIntervalMs: number;
  readonly graceMs: number;
  /** What becomes of its tasks hears of an agent. */
  readonly taskAgents: TaskAgents;
}

/** Where an agent puts its registration token, if it has kept one. */
const tokenHeader = "x-baaaht-agent-token";

/** AgentService's calls about agents and their lines. */
export function agentCalls(parts: AgentCallParts): Handlers<typeof AgentService> {
  const { agents, lines, passing, log, clock, maxPageSize, taskAgents } = parts;
  const beats = {
    "x-baaaht-heartbeat-interval-ms": String(parts.heartbeatIntervalMs),
    "x-baaaht-heartbeat-grace-ms": String(parts.graceMs),
  };
  return {
    register: async (request, call) => {
      const wanted = {
        name: request.name,
        type: agentTypeOf(request.type),
        metadata: agentMetadataOf(request.metadata),
        capabilities: capabilitiesOf(request.capabilities),
      };
      const { agent, token } = await agents.register(wanted, askedBy(call));
      taskAgents.heardFrom(agent.agent.id, call.caller.process?.pid);
      tell(beats, call);
      return { agentId: agent.agent.id, agent: toWireAgent(agent), registrationToken: token };
    },

    unregister: async (request, call) => {
      const id = requiredId<AgentId>(request.agentId, "agent_id");
      const off = { reason: request.reason, token: presented(call) };
      const news = await agents.unregister(id, off, askedBy(call));
      return {
        success: true,
        message: news === "signed_off" ? "unregistered" : "it was unregistered already",
      };
    },

    heartbeat: async (request, call) => {
      const id = requiredId<AgentId>(request.agentId, "agent_id");
      const at = clock();
      const beat = { report: reportOf(request, at), token: presented(call) };
      await agents.heartbeat(id, beat, askedBy(call));
      taskAgents.heardFrom(id, call.caller.process?.pid);
      taskAgents.isAt(id, request.activeTasks);
      tell(beats, call);
      const said = new Set(request.activeTasks);
      return {
        timestamp: timestamp(at),
        pendingTasks: taskAgents.pendingFor(id).filter((taskId) => !said.has(taskId)),
      };
    },

    getAgent: async (request) => ({
      agent: toWireAgent(await agents.get(requiredId<AgentId>(request.agentId, "agent_id"))),
    }),

    listAgents: async (request) => {
      const filter = agentFilterOf(request);
      const paged = { maxPageSize, filter: { list: "agents", ...filter } };
      const listing = await agents.list({ filter, ...pageOf(request, paged) });
      return {
        agents: listing.rows.map(toWireAgent),
        totalCount: count32(listing.total),
        nextPageToken: tokenOf(listing.next, paged.filter),
        cursor: log.cursor(listing.position),
      };
    },

    getCapabilities: () => {
      const all = agents.live().map(({ agent }) => agent.capabilities);
      return { capabilities: toWireCapabilities(capabilitiesTogether(all)) };
    },

    sendMessage: async (request, call) => {
      const id = requiredId<AgentId>(request.agentId, "agent_id");
      const sending = {
        draft: agentMessageOf(request.message),
        idempotencyKey: checkedKey(request.idempotencyKey, parts.maxKeyLength),
        token: presented(call),
      };
      const passed = await passing.send(id, sending, askedBy(call));
      return { messageId: passed.id, timestamp: timestamp(passed.at) };
    },

    streamAgent: async function* (requests, call) {
      const frames = requests[Symbol.asyncIterator]();
      const first = await frames.next();
      const id = requiredId<AgentId>(first.done ? "" : first.value.agentId, "agent_id");
      const input = inputsOf(id, {
        first: first.value,
        rest: { [Symbol.asyncIterator]: () => frames },
      });
      const serving = {
        input,
        token: presented(call),
        call: askedBy(call),
        opened: () => {
          taskAgents.heardFrom(id, call.caller.process?.pid);
          call.open(beats);
        },
      };
      for await (const output of lines.serve(id, serving)) yield toWireOutput(output);
    },
  };
}

function presented(call: Call): string | undefined {
  return call.metadata.get(tokenHeader);
}

function tell(trailers: Readonly<Record<string, string>>, call: Call): void {
  for (const [name, value] of Object.entries(trailers)) call.trailer(name, value);
}

/** What the frames of a line say; the first one may say nothing but whose line it is. */
async function* inputsOf(
  id: AgentId,
  frames: {
    readonly first: StreamAgentRequest | undefined;
    readonly rest: AsyncIterable<StreamAgentRequest>;
  },
): AsyncGenerator<LineInput> {
  const { first, rest } = frames;
  if (first !== undefined && first.payload.case !== undefined) yield inputOf(first);
  for await (const frame of rest) {
    if (frame.agentId !== "" && frame.agentId !== id) {
      const description = `is another than that of the first frame; it is "${id}" or empty on this line`;
      throw invalid("take a frame", [{ field: "agent_id", description }]);
    }
    yield inputOf(frame);
  }
}

function inputOf({ payload }: StreamAgentRequest): LineInput {
  switch (payload.case) {
    case "heartbeat":
      return { kind: "heartbeat" };
    case "message":
      return { kind: "message", message: agentMessageOf(payload.value) };
    case undefined:
      throw invalid("take a frame", [{ field: "payload", description: "is missing; message or heartbeat" }]);
  }
}

function toWireOutput(output: LineOutput) {
  const payload =
    output.kind === "heartbeat"
      ? { case: "heartbeat" as const, value: {} }
      : { case: "message" as const, value: toWireAgentMessage(output.message) };
  return { payload };
}
