import { expect, test } from "bun:test";
import type { LogEvent } from "../../src/events/event.ts";
import { type EventFilter, matches } from "../../src/events/filter.ts";

const event: LogEvent = {
  position: 1,
  id: "e",
  type: "exec_finished",
  source: "containers",
  at: 100,
  sessionId: "s",
  containerId: "c",
  taskId: "t",
  agentId: "a",
  labels: { team: "red", "": "" },
};

test("matches() holds when every part that is given does", () => {
  const yes: readonly EventFilter[] = [
    {},
    { types: [] },
    { types: ["exec_started", "exec_finished"] },
    { source: "containers", sessionId: "s", containerId: "c", taskId: "t", agentId: "a" },
    { priority: "normal" },
    { labels: {} },
    { labels: { team: "red", "": "" } },
    { startTime: 100 },
    { endTime: 101 },
  ];
  const no: readonly EventFilter[] = [
    { types: ["exec_started"] },
    { source: "container" },
    { sessionId: "" },
    { containerId: "C" },
    { taskId: "other" },
    { agentId: "other" },
    { priority: "high" },
    { labels: { team: "blue" } },
    { labels: { team: "red", more: "1" } },
    { labels: { toString: "x" } },
    { startTime: 101 },
    { endTime: 100 },
    { source: "containers", sessionId: "s", containerId: "other" },
  ];
  for (const filter of yes) expect([filter, matches(event, filter)]).toEqual([filter, true]);
  for (const filter of no) expect([filter, matches(event, filter)]).toEqual([filter, false]);
  expect(matches({ ...event, priority: "critical" }, { priority: "normal" })).toBe(false);
});
