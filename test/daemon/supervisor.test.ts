import { expect, test } from "bun:test";
import type { Log } from "../../src/daemon/log.ts";
import { Supervisor } from "../../src/daemon/supervisor.ts";
import { Failure } from "../../src/failure.ts";

test("start() runs work, and logs what it throws under its name", async () => {
  const log = kept();
  const error = new Error("broken");
  {
    await using supervisor = new Supervisor(log);
    supervisor.start("do it", async () => {
      throw error;
    });
    supervisor.start("throw at once", () => {
      throw error;
    });
    await turn();
  }
  expect(log.lines).toHaveLength(2);
  expect(log.lines).toContainEqual(["error", "cannot do it", { error }]);
  expect(log.lines).toContainEqual(["error", "cannot throw at once", { error }]);
});

test("dispose() tells all work to stop, waits for it, and takes no more", async () => {
  const log = kept();
  const supervisor = new Supervisor(log);
  const ended: string[] = [];
  for (const name of ["a", "b"]) {
    supervisor.start(name, async (signal) => {
      await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
      expect(signal.reason).toBeInstanceOf(Failure);
      await turn();
      ended.push(name);
      throw signal.reason;
    });
  }
  await supervisor[Symbol.asyncDispose]();
  expect(ended).toEqual(["a", "b"]);
  supervisor.start("late", async () => void ended.push("late"));
  await turn();
  expect(ended).toEqual(["a", "b"]);
  expect(log.lines).toEqual([]);
});

test("dispose() gives up on work that does not end, and names it", async () => {
  const log = kept();
  const supervisor = new Supervisor(log);
  supervisor.start("hang", () => new Promise(() => {}));
  supervisor.start("end", async () => {});
  await supervisor[Symbol.asyncDispose]();
  expect(log.lines).toEqual([
    ["warn", "background work did not end when it was told to", { work: ["hang"] }],
  ]);
});

test("keepUp() starts work again that has failed, until it is told to stop", async () => {
  const log = kept();
  const again = Promise.withResolvers<void>();
  let runs = 0;
  {
    await using supervisor = new Supervisor(log);
    supervisor.keepUp("go on", async () => {
      runs += 1;
      if (runs === 2) again.resolve();
      throw new Error("not now");
    });
    await again.promise;
  }
  expect(runs).toBe(2);
  expect(log.lines.map(([, message]) => message)).toEqual(["cannot go on"]); // the second was told to stop
});

/** A log that keeps its lines. */
function kept(): Log & { readonly lines: (readonly [string, string, unknown])[] } {
  const lines: (readonly [string, string, unknown])[] = [];
  const at = (level: string) => (message: string, fields?: unknown) =>
    void lines.push([level, message, fields]);
  const log = {
    lines,
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    with: () => log,
  };
  return log;
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
