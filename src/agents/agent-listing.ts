import type { Listing } from "../store/store.ts";
import type { PagePlace } from "../store/table.ts";
import type { AgentType } from "./agent.ts";
import type { AgentView, LiveAgent } from "./presence.ts";

export interface AgentFilter {
  readonly type?: AgentType;
  /** `ended`: lost or unregistered. */
  readonly state?: "idle" | "busy" | "ended";
  readonly labels?: Readonly<Record<string, string>>;
}

/** What a listing of agents is of: which, from where, and how many. */
export interface AgentPage {
  readonly filter: AgentFilter;
  readonly limit: number;
  readonly after?: PagePlace | undefined;
}

/** Agents that are live, newest first: whether one is busy is in no row. */
export function listingOfLive(
  live: readonly LiveAgent[],
  { filter, limit, after }: AgentPage,
): Omit<Listing<AgentView>, "position"> {
  const all = live
    .filter((view) => isWanted(view, filter))
    .toSorted((one, other) => (one.agent.id < other.agent.id ? 1 : -1));
  const from = after === undefined ? all : all.filter(({ agent }) => agent.id < after.key);
  const rows = from.slice(0, limit);
  const last = rows.at(-1);
  return {
    rows,
    total: all.length,
    ...(last !== undefined && from.length > limit ? { next: { value: null, key: last.agent.id } } : {}),
  };
}

function isWanted({ agent, report }: AgentView, { type, state, labels = {} }: AgentFilter): boolean {
  if (type !== undefined && agent.type !== type) return false;
  if (state !== undefined && (report.activeTasks.length > 0 ? "busy" : "idle") !== state) return false;
  return Object.entries(labels).every(([name, value]) => agent.metadata.labels[name] === value);
}
