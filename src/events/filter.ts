import type { EventType, Instant, LogEvent, Priority } from "./event.ts";

/** What a reader wants of the log; every part that is given must match. An empty filter matches all. */
export interface EventFilter {
  /** Any of these. */
  readonly types?: readonly EventType[];
  readonly source?: string;
  readonly sessionId?: string;
  readonly containerId?: string;
  readonly taskId?: string;
  readonly agentId?: string;
  readonly priority?: Priority;
  /** All of these, with these values. */
  readonly labels?: Readonly<Record<string, string>>;
  /** At or after. */
  readonly startTime?: Instant;
  /** Before. */
  readonly endTime?: Instant;
}

/** Whether `event` is one that `filter` asks for. */
export function matches(event: LogEvent, filter: EventFilter): boolean {
  if (filter.types !== undefined && filter.types.length > 0 && !filter.types.includes(event.type))
    return false;
  if (filter.source !== undefined && filter.source !== event.source) return false;
  if (filter.sessionId !== undefined && filter.sessionId !== event.sessionId) return false;
  if (filter.containerId !== undefined && filter.containerId !== event.containerId) return false;
  if (filter.taskId !== undefined && filter.taskId !== event.taskId) return false;
  if (filter.agentId !== undefined && filter.agentId !== event.agentId) return false;
  if (filter.priority !== undefined && filter.priority !== (event.priority ?? "normal")) return false;
  if (filter.startTime !== undefined && event.at < filter.startTime) return false;
  if (filter.endTime !== undefined && event.at >= filter.endTime) return false;
  for (const name in filter.labels) {
    if (event.labels?.[name] !== filter.labels[name]) return false;
  }
  return true;
}
