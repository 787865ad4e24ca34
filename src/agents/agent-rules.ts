import type { Instant, NewEvent } from "../events/event.ts";
import { Failure } from "../failure.ts";
import { type Counter, counterTable, moved } from "../store/counters.ts";
import { changed, type Decision, put, unchanged } from "../store/store.ts";
import { type Agent, agentTable, knownAgent, liveAgents, registeredAgent } from "./agent.ts";

/** The part that speaks in events that a call of AgentService made; clients know it by this name. */
const agentSource = "agent.grpc";

/** What every rule is told about the change that it decides on. */
export interface Deciding {
  readonly at: Instant;
  readonly actor: string;
  readonly correlationId: string;
}

/** What a change of an agent loads. */
interface Loaded {
  readonly agent: Agent | undefined;
  readonly live: Counter | undefined;
}

/** How often an agent is told to beat, so that one beat, or two, may be late. Milliseconds. */
export function beatIntervalMs(wanted: {
  readonly heartbeatIntervalMs: number;
  readonly graceMs: number;
}): number {
  return Math.min(wanted.heartbeatIntervalMs, Math.floor(wanted.graceMs / 3));
}

/** Makes an agent known. Failures: RESOURCE_EXHAUSTED at the bound on live agents. */
export function registerAgent(
  { live }: Pick<Loaded, "live">,
  agent: Agent,
  register: Deciding & { readonly maxAgents: number },
): Decision<Agent> {
  checkRoom(live, { doing: `register agent "${agent.name}"`, maxAgents: register.maxAgents });
  return changed(
    agent,
    [put(agentTable, agent), put(counterTable, moved(live, liveAgents, 1))],
    [happened(agent, register, { type: "agent_registered", data: described(agent) })],
  );
}

/**
 * An agent that is heard of while it is not live: one that was lost is back, with its id, and that is told as a
 * registration that says so.
 *
 * Failures: NOT_FOUND when it is unknown or unregistered, RESOURCE_EXHAUSTED at the bound on live agents.
 */
export function returnAgent(
  loaded: Loaded,
  back: Deciding & { readonly id: string; readonly maxAgents: number; readonly doing: string },
): Decision<{ readonly agent: Agent; readonly news: "back" | "was_live" }> {
  const agent = registeredAgent(loaded.agent, back);
  const { life } = agent;
  if (life.state !== "lost") return unchanged({ agent, news: "was_live" });
  checkRoom(loaded.live, { doing: `${back.doing} "${agent.id}"`, maxAgents: back.maxAgents });
  const next: Agent = { ...agent, heardAt: back.at, life: { state: "live" } };
  const data = { ...described(agent), returned: "true", lost_at: new Date(life.at).toISOString() };
  return changed(
    { agent: next, news: "back" },
    [put(agentTable, next), put(counterTable, moved(loaded.live, liveAgents, 1))],
    [happened(next, back, { type: "agent_registered", data })],
  );
}

/** Gives up on an agent that was silent for too long; undefined when it is not live any more anyway. */
export function loseAgent(
  loaded: Loaded,
  lose: Deciding & { readonly heardAt: Instant; readonly silentMs: number },
): Decision<Agent | undefined> {
  const { agent } = loaded;
  if (agent?.life.state !== "live") return unchanged(undefined);
  const reason = `no sign of life for ${Math.round(lose.silentMs / 100) / 10} s`;
  const next: Agent = { ...agent, heardAt: lose.heardAt, life: { state: "lost", at: lose.at, reason } };
  return changed(
    next,
    [put(agentTable, next), put(counterTable, moved(loaded.live, liveAgents, -1))],
    [
      happened(next, lose, {
        type: "agent_lost",
        source: "agents",
        data: { name: next.name, reason, last_heard: new Date(lose.heardAt).toISOString() },
      }),
    ],
  );
}

/** Signs an agent off. Signing off twice is what a retry looks like, and changes nothing. Failures: NOT_FOUND. */
export function unregisterAgent(
  loaded: Loaded,
  off: Deciding & { readonly id: string; readonly heardAt: Instant; readonly reason: string },
): Decision<{ readonly agent: Agent; readonly news: "signed_off" | "was_off" }> {
  const agent = knownAgent(loaded.agent, { id: off.id, doing: "unregister agent" });
  if (agent.life.state === "unregistered") return unchanged({ agent, news: "was_off" });
  const wasLive = agent.life.state === "live";
  const next: Agent = {
    ...agent,
    heardAt: wasLive ? off.heardAt : agent.heardAt,
    life: { state: "unregistered", at: off.at, reason: off.reason, by: off.actor },
  };
  return changed(
    { agent: next, news: "signed_off" },
    [put(agentTable, next), ...(wasLive ? [put(counterTable, moved(loaded.live, liveAgents, -1))] : [])],
    [happened(next, off, { type: "agent_unregistered", data: { name: next.name, reason: off.reason } })],
  );
}

function checkRoom(
  live: Counter | undefined,
  { doing, maxAgents }: { readonly doing: string; readonly maxAgents: number },
): void {
  const count = live?.value ?? 0;
  if (count < maxAgents) return;
  throw new Failure(
    "resource_exhausted",
    `Cannot ${doing}: ${count} agents are live, and ${maxAgents} is the most; unregister some`,
    { reason: "TOO_MANY_AGENTS", metadata: { limit: String(maxAgents) } },
  );
}

function described({ name, type, metadata }: Agent): Readonly<Record<string, string>> {
  const { version, hostname, pid } = metadata;
  return {
    name,
    type,
    ...(version === "" ? {} : { version }),
    ...(hostname === "" ? {} : { hostname }),
    ...(pid === "" ? {} : { pid }),
  };
}

function happened(
  agent: Agent,
  { at, actor, correlationId }: Deciding,
  event: Pick<NewEvent, "type" | "data"> & { readonly source?: string },
): NewEvent {
  const { labels, ownerId } = agent.metadata;
  return {
    source: agentSource,
    ...event,
    at,
    actor,
    correlationId,
    agentId: agent.id,
    labels,
    ...(ownerId === "" ? {} : { userId: ownerId }),
  };
}
