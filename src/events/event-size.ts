import type { LogEvent } from "./event.ts";

/** What an object with the fields of an event and its fixed texts (its id, type and times) takes. */
const fixedBytes = 256;

/** What an entry of a map takes beside its texts. */
const entryBytes = 32;

/**
 * About what an event takes in memory, in bytes. An estimate from above: a text counts as if it was wide and its own,
 * although labels are often those of its session.
 */
export function eventBytes(event: LogEvent): number {
  const characters =
    event.source.length +
    lengthOf(event.sessionId) +
    lengthOf(event.containerId) +
    lengthOf(event.taskId) +
    lengthOf(event.agentId) +
    lengthOf(event.userId) +
    lengthOf(event.correlationId) +
    lengthOf(event.actor);
  return fixedBytes + 2 * characters + mapBytes(event.labels) + mapBytes(event.data);
}

function lengthOf(text: string | undefined): number {
  return text === undefined ? 0 : text.length;
}

function mapBytes(map: Readonly<Record<string, string>> | undefined): number {
  let bytes = 0;
  for (const name in map) bytes += entryBytes + 2 * (name.length + (map[name]?.length ?? 0));
  return bytes;
}
