import type { AgentId } from "../agents/agent.ts";
import type { Agents } from "../agents/agents.ts";
import { capabilitiesTogether } from "../agents/together.ts";
import type { EventLog } from "../events/log.ts";
import type { AgentService } from "../gen/proto/agent/v1/agent_pb.ts";
import type { TaskAgents } from "../tasks/task-agents.ts";
import { type Beats, beatHeaders, presentedToken } from "./agent-headers.ts";
import { askedBy } from "./asked-by.ts";
import type { Handlers } from "./handlers.ts";
import { pageOf, tokenOf } from "./paging.ts";
import {
  agentFilterOf,
  agentMetadataOf,
  agentTypeOf,
  capabilitiesOf,
  reportOf,
  toWireAgent,
  toWireCapabilities,
} from "./wire-agent.ts";
import { count32, requiredId, timestamp } from "./wire-values.ts";

export interface AgentCallParts extends Beats {
  readonly agents: Agents;
  readonly log: EventLog;
  readonly clock: () => number;
  readonly maxPageSize: number;
  /** What becomes of its tasks hears of an agent. */
  readonly taskAgents: TaskAgents;
}

/** AgentService's calls about agents. */
export function agentCalls(parts: AgentCallParts): Handlers<typeof AgentService> {
  const { agents, log, clock, maxPageSize, taskAgents } = parts;
  const beats = beatHeaders(parts);
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
      for (const [name, value] of Object.entries(beats)) call.trailer(name, value);
      return { agentId: agent.agent.id, agent: toWireAgent(agent), registrationToken: token };
    },

    unregister: async (request, call) => {
      const id = requiredId<AgentId>(request.agentId, "agent_id");
      const off = { reason: request.reason, token: presentedToken(call) };
      const news = await agents.unregister(id, off, askedBy(call));
      return {
        success: true,
        message: news === "signed_off" ? "unregistered" : "it was unregistered already",
      };
    },

    heartbeat: async (request, call) => {
      const id = requiredId<AgentId>(request.agentId, "agent_id");
      const at = clock();
      const beat = { report: reportOf(request, at), token: presentedToken(call) };
      await agents.heartbeat(id, beat, askedBy(call));
      taskAgents.heardFrom(id, call.caller.process?.pid);
      taskAgents.isAt(id, request.activeTasks);
      for (const [name, value] of Object.entries(beats)) call.trailer(name, value);
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
  };
}
