import { afterAll, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { taskPriorities } from "../../src/tasks/task.ts";
import { type Asked, counts, type Report, TaskWorld } from "./task-world.ts";

/** One thing that happens. */
type Act = (world: TaskWorld) => void;

const asked: fc.Arbitrary<Asked> = fc.record({
  session: fc.nat(2),
  type: fc.constantFrom("code_execution" as const, "custom" as const, "file_operation" as const),
  priority: fc.constantFrom(...taskPriorities),
  maxRetries: fc.nat(3),
  retryOnFailure: fc.boolean(),
  timeoutMs: fc.constantFrom(0, 0, 700, 3_000),
  deadlineMs: fc.constantFrom(0, 0, 0, 4_000),
  named: fc.boolean(),
});

const reports: readonly Report[] = ["begin", "advance", "pause", "resume", "complete", "fail", "give_up"];

const act: fc.Arbitrary<{ readonly name: string; readonly run: Act }> = fc.oneof(
  { weight: 5, arbitrary: asked.map((one) => ({ name: "ask", run: (world: TaskWorld) => world.ask(one) })) },
  {
    weight: 12,
    arbitrary: fc
      .tuple(fc.nat(3), fc.nat(20), fc.constantFrom(...reports))
      .map(([agent, belief, report]) => ({
        name: report,
        run: (world: TaskWorld) => world.report(agent, belief, report),
      })),
  },
  {
    weight: 1,
    arbitrary: fc.nat(3).map((at) => ({ name: "lose", run: (world: TaskWorld) => world.lose(at) })),
  },
  {
    weight: 2,
    arbitrary: fc.nat(3).map((at) => ({ name: "back", run: (world: TaskWorld) => world.comeBack(at) })),
  },
  {
    weight: 1,
    arbitrary: fc.nat(9).map((at) => ({ name: "silence", run: (world: TaskWorld) => world.silence(at) })),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.nat(30), fc.constantFrom("graceful" as const, "force" as const))
      .map(([at, how]) => ({ name: "cancel", run: (world: TaskWorld) => world.cancel(at, how) })),
  },
  {
    weight: 4,
    arbitrary: fc.nat(1_500).map((ms) => ({ name: "pass", run: (world: TaskWorld) => world.pass(ms) })),
  },
  { weight: 1, arbitrary: fc.constant({ name: "crash", run: (world: TaskWorld) => world.crash() }) },
);

const agents = fc.array(
  fc.record({
    types: fc.subarray(["code_execution" as const, "custom" as const, "file_operation" as const], {
      minLength: 1,
    }),
    seats: fc.integer({ min: 1, max: 3 }),
  }),
  { minLength: 1, maxLength: 4 },
);

const runs = 4_000;

describe("the rules of tasks and the schedule", () => {
  afterAll(() => {
    const lines = Object.entries(counts)
      .toSorted()
      .map(([what, number]) => `  ${what.padEnd(28)}${number}`);
    process.stderr.write(`${runs} worlds:\n${lines.join("\n")}\n`);
  });

  test("whatever workers, callers, time and crashes do: one lease at a time, one end, no more attempts than allowed, no seat too many", () => {
    fc.assert(
      fc.property(agents, fc.array(act, { minLength: 5, maxLength: 120 }), (those, acts) => {
        const world = new TaskWorld(those);
        for (const { run } of acts) run(world);
        expect(world.problems).toEqual([]);
        world.settle();
        expect(world.problems).toEqual([]);
      }),
      { numRuns: runs },
    );
    // The worlds have come to everything that there is.
    for (const what of [
      ...["ended: completed", "ended: failed", "ended: cancelled", "ended: timeout"],
      ...["reports of fenced attempts", "waits again", "crashes", "agents lost"],
    ]) {
      expect([what, (counts[what] ?? 0) > 50]).toEqual([what, true]);
    }
  }, 60_000);
});
