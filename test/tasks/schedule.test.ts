import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Schedule, type Taker, type Waiting } from "../../src/tasks/schedule.ts";
import { type TaskId, type TaskPriority, taskPriorities } from "../../src/tasks/task.ts";

const ageingMs = 1_000;
const taker: Taker = { id: "a", types: ["custom"] };

function waiting(id: string, more: Partial<Waiting> = {}): Waiting {
  return { id: id as TaskId, sessionId: "", type: "custom", priority: "normal", wantedAgent: "", ...more };
}

function order(schedule: Schedule, now: number): readonly string[] {
  const ids: string[] = [];
  for (let task = schedule.take(taker, now); task !== undefined; task = schedule.take(taker, now))
    ids.push(task.id);
  return ids;
}

describe("Schedule", () => {
  test("take() gives the more urgent first, then the older", () => {
    const schedule = new Schedule(ageingMs);
    const priorities: readonly TaskPriority[] = ["low", "critical", "normal", "high", "critical", "low"];
    for (const [at, priority] of priorities.entries())
      schedule.add(waiting(`${priority}${at}`, { priority }), { at: 0, as: "fresh" });
    expect(order(schedule, 10)).toEqual(["critical1", "critical4", "high3", "normal2", "low0", "low5"]);
  });

  test("take() gives the oldest of each session in turn, however many one session has", () => {
    const schedule = new Schedule(ageingMs);
    for (let at = 0; at < 1_000; at += 1)
      schedule.add(waiting(`a${at}`, { sessionId: "a" }), { at: 0, as: "fresh" });
    for (const session of ["b", "c"]) {
      for (let at = 0; at < 3; at += 1)
        schedule.add(waiting(`${session}${at}`, { sessionId: session }), { at: 1, as: "fresh" });
    }
    expect(order(schedule, 2).slice(0, 9)).toEqual(["a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "c2"]);
  });

  test("take() gives a task of any priority its turn in bounded time, though more urgent ones keep coming", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...taskPriorities),
        fc.integer({ min: 1, max: 50 }),
        (priority, everyMs) => {
          const schedule = new Schedule(ageingMs);
          schedule.add(waiting("patient", { priority, sessionId: "p" }), { at: 0, as: "fresh" });
          let now = 0;
          for (let at = 0; ; at += 1) {
            // As many come as are taken, and each is the most urgent.
            schedule.add(waiting(`u${at}`, { priority: "critical", sessionId: "u" }), {
              at: now,
              as: "fresh",
            });
            schedule.add(waiting(`v${at}`, { priority: "critical", sessionId: "v" }), {
              at: now,
              as: "fresh",
            });
            if (schedule.take(taker, now)?.id === "patient") break;
            now += everyMs;
            expect(now).toBeLessThan(ageingMs * taskPriorities.length + 3 * everyMs);
          }
        },
      ),
    );
  });

  test("take() gives what was handed out before, and has come back, before the others of its session", () => {
    const schedule = new Schedule(ageingMs);
    schedule.add(waiting("fresh"), { at: 0, as: "fresh" });
    schedule.add(waiting("back"), { at: 5, as: "returned" });
    expect(order(schedule, 6)).toEqual(["back", "fresh"]);
  });

  test("take() gives an agent what was asked of it, and what it can do, and nothing else", () => {
    const schedule = new Schedule(ageingMs);
    schedule.add(waiting("other", { type: "code_execution" }), { at: 0, as: "fresh" });
    schedule.add(waiting("named", { type: "code_execution", wantedAgent: "a" }), { at: 0, as: "fresh" });
    schedule.add(waiting("elses", { wantedAgent: "b" }), { at: 0, as: "fresh" });
    expect(schedule.hasFor(taker)).toBe(true);
    expect(order(schedule, 1)).toEqual(["named"]);
    expect(schedule.hasFor(taker)).toBe(false);
    expect(schedule.askedOf("b").map(({ id }) => id as string)).toEqual(["elses"]);
    expect(schedule.size).toBe(2);
  });

  test("remove() takes a task out wherever it waits, and all of its kind with it", () => {
    const schedule = new Schedule(ageingMs);
    const all = ["1", "2", "3"].map((id) => waiting(id));
    for (const task of all) schedule.add(task, { at: 0, as: "fresh" });
    schedule.remove("2" as TaskId);
    schedule.remove("unknown" as TaskId);
    expect(order(schedule, 1)).toEqual(["1", "3"]);
    expect([schedule.size, schedule.hasFor(taker)]).toEqual([0, false]);
  });
});
