import { describe, expect, test } from "bun:test";
import {
  type ExecId,
  type ExecInput,
  type ExecOutput,
  type ExecStart,
  execTable,
} from "../../src/containers/execs/exec.ts";
import { Failure } from "../../src/failure.ts";
import { changed, put } from "../../src/store/store.ts";
import { thrown } from "../client/thrown.ts";
import { ENDLESS, ends, none, type Running, running, text } from "./exec-subject.ts";

/** Says a line for each that it reads. */
const ECHO = ["sh", "-c", "echo on; while read line; do echo $line; done; exit 4"];
const LEFT = new Failure("cancelled", "Cannot go on: the client left");

describe("run() of a command that goes on without its caller", () => {
  test.each(["leaves", "is cancelled"] as const)(
    "goes on when its caller %s, and attach() resumes it",
    async (how) => {
      await using subject = await running();
      const caller = new AbortController();
      const before: ExecOutput[] = [];
      const start = subject.start({ command: ECHO, stdin: true, onDisconnect: "detach" });
      const reading = (async () => {
        for await (const output of subject.execs.run(start, open(), subject.call(caller.signal))) {
          before.push(output);
          if (output.kind !== "stdout") continue;
          if (how === "leaves") break;
          caller.abort(LEFT);
        }
      })();
      if (how === "leaves") await reading;
      else expect(await thrown(() => reading)).toBe(LEFT);
      expect(subject.execs.running).toBe(1);
      const { id } = started(before);
      expect(await subject.execs.get(id)).toMatchObject({
        exec: { onDisconnect: "detach", life: { state: "running" } },
        attached: 0,
        outputBytes: 3,
        oldestOffset: 0,
      });
      const after = await attached(subject, id, {
        offset: 3,
        input: sent(["one\n", "two\n"], { kind: "close_stdin" }),
      });
      expect(after[0]).toEqual({ kind: "started", id, offset: 3 });
      expect(text(after)).toBe("one\ntwo\n");
      expect(after.flatMap((output) => (output.kind === "stdout" ? [output.offset] : []))[0]).toBe(3);
      expect(ends(after)).toEqual([{ kind: "exited", code: 4 }]);
      expect(after.at(-1)).toMatchObject({ kind: "end", offset: 11 });
      await subject.expectEnded("exited");
    },
  );

  test("ends for each who is attached with one and the same end", async () => {
    await using subject = await running();
    const { id } = await detached(subject, { command: ECHO, stdin: true });
    const watching = Array.from({ length: 5 }, () => attached(subject, id));
    await reads(subject, id, 5);
    await attached(subject, id, { offset: 0, input: sent(["x\n"], { kind: "close_stdin" }) });
    for (const outputs of await Promise.all(watching)) {
      expect(text(outputs)).toBe("on\nx\n");
      expect(ends(outputs)).toEqual([{ kind: "exited", code: 4 }]);
    }
  });

  test("does not wait for anybody while nobody reads, and keeps its newest output", async () => {
    await using subject = await running({ BAAAHT_RUNTIME_EXEC_OUTPUT_BYTES: "4KiB" });
    const { id } = await detached(subject, { command: ["seq", "1", "5000"] });
    await subject.noProcess();
    await subject.event("exec_finished");
    const { outputBytes, oldestOffset, exec } = await subject.execs.get(id);
    expect({ outputBytes, oldestOffset }).toEqual({ outputBytes: 23_893, oldestOffset: 23_893 - 4_096 });
    expect(exec.life).toMatchObject({
      state: "ended",
      end: { kind: "exited", code: 0 },
      outputBytes: 23_893,
    });
    const kept = await attached(subject, id);
    expect(kept[0]).toMatchObject({ kind: "started", offset: oldestOffset });
    expect(text(kept)).toBe(SEQUENCE.slice(-4_096));
    expect(ends(kept)).toEqual([{ kind: "exited", code: 0 }]);
    expect(await thrown(() => attached(subject, id, { offset: oldestOffset - 1 }))).toMatchObject({
      kind: "out_of_range",
      details: { reason: "OUTPUT_NOT_KEPT", metadata: { oldest_offset: String(oldestOffset), exec_id: id } },
    });
    const none = await attached(subject, id, { offset: outputBytes });
    expect(none.map(({ kind }) => kind)).toEqual(["started", "end"]);
  });

  test("waits for those who read on, so that they miss nothing", async () => {
    await using subject = await running({ BAAAHT_RUNTIME_EXEC_OUTPUT_BYTES: "4KiB" });
    const start = { command: ["seq", "1", "5000"], onDisconnect: "detach" } as const;
    const outputs: ExecOutput[] = [];
    for await (const output of subject.execs.run(subject.start(start), none(), subject.call())) {
      outputs.push(output);
      await Bun.sleep(0); // slower than the command
    }
    expect(text(outputs)).toBe(SEQUENCE);
    expect(ends(outputs)).toEqual([{ kind: "exited", code: 0 }]);
  });

  test("passes over a reader that reads nothing, who is told where to go on, and the others miss nothing", async () => {
    await using subject = await running({
      BAAAHT_RUNTIME_EXEC_OUTPUT_BYTES: "4KiB",
      BAAAHT_RUNTIME_EXEC_READ_PATIENCE: "100ms",
    });
    const { id } = await detached(subject, { command: ["sh", "-c", "read go; seq 1 5000"], stdin: true });
    const stalled = subject.execs.attach(id, attaching(subject, {}));
    await stalled.next();
    const fast = attached(subject, id, { input: sent(["go\n"], { kind: "close_stdin" }) });
    expect(text(await fast)).toBe(SEQUENCE);
    const failure = await thrown(async () => {
      for await (const _ of stalled);
    });
    expect(failure).toMatchObject({
      kind: "out_of_range",
      details: { reason: "OUTPUT_NOT_KEPT", metadata: { oldest_offset: String(23_893 - 4_096) } },
    });
  });

  test("is not ended by a frame that is wrong, only its sender's stream is", async () => {
    await using subject = await running();
    const { id } = await detached(subject, { command: ENDLESS });
    for (const frame of [
      { kind: "stdin", data: Buffer.from("x") },
      { kind: "resize", columns: 1, rows: 1 },
      { kind: "signal", name: "SIGNONE" },
    ] as const) {
      const failure = await thrown(() => attached(subject, id, { input: sent([], frame) }));
      expect(failure.kind).toBe("invalid_argument");
    }
    expect((await subject.execs.get(id)).exec.life.state).toBe("running");
    const outputs = await attached(subject, id, { input: sent([], { kind: "signal", name: "KILL" }) });
    expect(ends(outputs)).toEqual([{ kind: "signalled", signal: "KILL", number: 9 }]);
  });

  test("leaves stdin open when an attachment's input ends, and closes it when its starter's does", async () => {
    await using subject = await running();
    const { id } = await detached(subject, { command: ["cat"], stdin: true });
    const watching = attached(subject, id, { input: sent(["a"]) });
    await attachedUntil(subject, id, "a");
    const outputs = await attached(subject, id, { input: sent(["b"], { kind: "close_stdin" }) });
    expect(text(outputs)).toBe("ab");
    expect(text(await watching)).toBe("ab");
    const start = subject.start({ command: ["cat"], stdin: true, onDisconnect: "detach" });
    const own: ExecOutput[] = [];
    for await (const output of subject.execs.run(start, sent(["c"]), subject.call())) own.push(output);
    expect([text(own), ends(own)]).toEqual(["c", [{ kind: "exited", code: 0 }]]);
  });

  test("is timed out after its time although nobody is attached", async () => {
    await using subject = await running();
    const { id } = await detached(subject, { command: ENDLESS, timeoutNs: 30_000_000n });
    await subject.event("exec_finished");
    expect(ends(await attached(subject, id))).toEqual([{ kind: "timed_out", timeoutNs: 30_000_000n }]);
  });

  test("counts as one that runs until it has ended", async () => {
    await using subject = await running({ BAAAHT_RUNTIME_MAX_EXECS: "1" });
    const { id } = await detached(subject, { command: ENDLESS });
    expect((await thrown(() => subject.run({ command: ["true"] }))).details.reason).toBe("TOO_MANY_EXECS");
    await subject.execs.signal(id, "KILL", subject.call());
    await subject.event("exec_finished");
    await attached(subject, id);
    expect(ends(await subject.run({ command: ["true"] }))).toEqual([{ kind: "exited", code: 0 }]);
  });

  test("is killed and told when the server stops, to those who are attached and in the log", async () => {
    await using subject = await running();
    const { id } = await detached(subject, { command: ENDLESS });
    const stopping = new AbortController();
    const watching = attached(subject, id, { signal: stopping.signal });
    const { id: other } = await detached(subject, { command: ENDLESS });
    await reads(subject, id, 1);
    stopping.abort(new Failure("unavailable", "Cannot go on: the server stops", { reason: "SHUTTING_DOWN" }));
    expect(ends(await watching)).toEqual([{ kind: "cancelled", reason: "the server stops" }]);
    await subject.stop();
    const events = await subject.events("exec_finished");
    expect(events.map(({ data }) => [data?.exec_id, data?.end])).toEqual([
      [id, "cancelled"],
      [other, "cancelled"],
    ]);
    expect(subject.runtime.running).toBe(0);
  });
});

describe("attach()", () => {
  test("reads along with a command that belongs to its caller, and holds nobody up", async () => {
    await using subject = await running({ BAAAHT_RUNTIME_EXEC_OUTPUT_BYTES: "4KiB" });
    const start = subject.start({ command: ["sh", "-c", "echo on; read go; seq 1 5000"], stdin: true });
    const caller = subject.execs.run(start, open(), subject.call());
    const id = started([(await caller.next()).value as ExecOutput]).id; // a generator that has begun is not done
    const stalled = subject.execs.attach(id, attaching(subject, {}));
    await stalled.next();
    const along = attached(subject, id, { input: sent(["go\n"]) }).catch(() => {}); // it may fall behind too
    const own: ExecOutput[] = [];
    for await (const output of caller) own.push(output);
    expect(text(own)).toBe(`on\n${SEQUENCE}`);
    expect(ends(own)).toEqual([{ kind: "exited", code: 0 }]);
    expect(
      (
        await thrown(async () => {
          for await (const _ of stalled);
        })
      ).kind,
    ).toBe("out_of_range");
    await along;
  });

  test("is NOT_FOUND for a command that nobody knows", async () => {
    await using subject = await running();
    const id = "nobody" as ExecId; // any text may be an id
    for (const failure of [
      await thrown(() => attached(subject, id)),
      await thrown(() => subject.execs.get(id)),
      await thrown(() => subject.execs.signal(id, "KILL", subject.call())),
    ])
      expect(failure).toMatchObject({ kind: "not_found", details: { reason: "EXEC_NOT_FOUND" } });
  });

  test.each([4, -1])("is INVALID_ARGUMENT at a place that was never written: %d", async (offset) => {
    await using subject = await running();
    const { id } = await detached(subject, { command: ENDLESS });
    const failure = await thrown(() => attached(subject, id, { offset }));
    expect(failure).toMatchObject({
      kind: "invalid_argument",
      details: { violations: [{ field: "start.offset" }] },
    });
  });

  test("is RESOURCE_EXHAUSTED when as many read as may", async () => {
    await using subject = await running({ BAAAHT_RUNTIME_MAX_EXEC_ATTACHMENTS: "2" });
    const { id } = await detached(subject, { command: ENDLESS });
    const first = subject.execs.attach(id, attaching(subject, {}));
    const second = subject.execs.attach(id, attaching(subject, {}));
    await Promise.all([first.next(), second.next()]);
    expect(await thrown(() => attached(subject, id))).toMatchObject({
      kind: "resource_exhausted",
      details: { reason: "TOO_MANY_ATTACHMENTS" },
    });
    await first.return();
    await attachedUntil(subject, id, "on");
    await second.return();
  });
});

describe("signal()", () => {
  test("is FAILED_PRECONDITION when the command has ended, and INVALID_ARGUMENT for no signal", async () => {
    await using subject = await running();
    const { id } = await detached(subject, { command: ENDLESS });
    expect((await thrown(() => subject.execs.signal(id, "NONE", subject.call()))).kind).toBe(
      "invalid_argument",
    );
    await subject.execs.signal(id, "TERM", subject.call());
    await attached(subject, id);
    expect(await thrown(() => subject.execs.signal(id, "TERM", subject.call()))).toMatchObject({
      kind: "failed_precondition",
      details: { reason: "EXEC_ENDED" },
    });
  });
});

describe("list()", () => {
  test("gives commands newest first, by container, session and state, a page at a time", async () => {
    await using subject = await running();
    const other = await subject.create(subject.sessionId);
    const ended = started(await subject.run({ command: ["sh", "-c", "exit 3"] })).id;
    const { id: runs } = await detached(subject, { command: ENDLESS });
    const { id: elsewhere } = await detached(subject, { command: ENDLESS, containerId: other.id });
    const list = async (filter: Parameters<typeof subject.execs.list>[0]["filter"], limit = 10) =>
      await subject.execs.list({ filter, limit });
    const ids = async (...asked: Parameters<typeof list>) =>
      (await list(...asked)).rows.map(({ exec }) => exec.id);
    expect(await ids({})).toEqual([elsewhere, runs, ended]);
    expect(await ids({ containerId: subject.id })).toEqual([runs, ended]);
    expect(await ids({ sessionId: subject.sessionId, state: "running" })).toEqual([elsewhere, runs]);
    expect(await ids({ state: "ended" })).toEqual([ended]);
    expect(await ids({ sessionId: "nobody" })).toEqual([]);
    const first = await list({}, 2);
    expect([first.rows.length, first.total]).toEqual([2, 3]);
    const second = await subject.execs.list({ filter: {}, limit: 2, after: first.next });
    expect(second.rows).toMatchObject([
      { exec: { id: ended, life: { state: "ended", end: { kind: "exited", code: 3 } } }, attached: 0 },
    ]);
    expect(second.next).toBeUndefined();
  });
});

describe("forgetOnce()", () => {
  test("keeps as many that have ended as it may, the newest, and those that run", async () => {
    await using subject = await running({ BAAAHT_RUNTIME_MAX_ENDED_EXECS: "3" });
    const { id: runs } = await detached(subject, { command: ENDLESS });
    const ended: ExecId[] = [];
    for (let n = 0; n < 6; n += 1) {
      ended.push(started(await subject.run({ command: ["echo", String(n)] })).id);
      await Bun.sleep(2); // so that no two end in the same millisecond
    }
    await subject.execs.forgetOnce(subject.call().signal);
    const { rows } = await subject.execs.list({ filter: {}, limit: 100 });
    expect(rows.map(({ exec }) => exec.id)).toEqual([...ended.slice(3).reverse(), runs]);
    expect(text(await attached(subject, ended[5] ?? runs))).toBe("5\n");
    expect((await thrown(() => attached(subject, ended[0] ?? runs))).kind).toBe("not_found");
  });

  test("forgets what has ended long ago", async () => {
    await using subject = await running({ BAAAHT_RUNTIME_KEEP_ENDED_EXECS: "1s" });
    const { id } = started(await subject.run({ command: ["true"] }));
    while ((await subject.execs.list({ filter: {}, limit: 1 })).total > 0) {
      await Bun.sleep(50); // it is the clock that is waited for
      await subject.execs.forgetOnce(subject.call().signal);
    }
    expect((await thrown(() => subject.execs.get(id))).kind).toBe("not_found");
  });
});

describe("settleLeftovers()", () => {
  test("leaves a command listed as ended, nobody knows how, that can still be attached to", async () => {
    await using subject = await running();
    const id = "left" as ExecId; // any text may be an id
    const { containerId, command, tty, stdin, onDisconnect } = subject.start({ onDisconnect: "detach" });
    const { sessionId } = subject;
    const life = { state: "running" } as const;
    const row = { id, containerId, sessionId, command, tty, stdin, onDisconnect, life, startedAt: 1 };
    await subject.store.change({}, () => changed(undefined, [put(execTable, row)]));
    expect(await thrown(() => attached(subject, id))).toMatchObject({
      kind: "unavailable",
      details: { reason: "EXEC_NOT_READY" },
    });
    await subject.execs.settleLeftovers(subject.call());
    const end = { kind: "unknown", reason: "the server stopped while it ran" } as const;
    expect((await subject.execs.get(id)).exec.life).toMatchObject({ state: "ended", end });
    expect(await attached(subject, id)).toMatchObject([
      { kind: "started", id, offset: 0 },
      { kind: "end", end, offset: 0 },
    ]);
    expect((await thrown(() => attached(subject, id, { offset: 3 }))).kind).toBe("out_of_range");
  });
});

const SEQUENCE = Array.from({ length: 5_000 }, (_, n) => `${n + 1}\n`).join("");

interface Attach {
  readonly offset?: number;
  readonly input?: AsyncIterable<ExecInput>;
  readonly signal?: AbortSignal;
}

function attaching(subject: Running, { offset, input, signal }: Attach) {
  return { offset, input: input ?? none(), call: subject.call(signal) };
}

/** All that an attachment gets, to its end. */
async function attached(subject: Running, id: ExecId, how: Attach = {}): Promise<readonly ExecOutput[]> {
  const outputs: ExecOutput[] = [];
  for await (const output of subject.execs.attach(id, attaching(subject, how))) outputs.push(output);
  return outputs;
}

/** Reads until these words have come, and leaves. */
async function attachedUntil(subject: Running, id: ExecId, words: string): Promise<void> {
  const outputs: ExecOutput[] = [];
  for await (const output of subject.execs.attach(id, attaching(subject, {}))) {
    outputs.push(output);
    if (text(outputs).includes(words)) return;
  }
}

/** Starts a command and leaves it. */
async function detached(subject: Running, start: Partial<ExecStart>): Promise<{ readonly id: ExecId }> {
  const wanted = subject.start({ ...start, onDisconnect: "detach" });
  for await (const output of subject.execs.run(wanted, open(), subject.call()))
    if (output.kind === "started") return { id: output.id };
  throw new Error("it did not start");
}

/** Resolves when so many read it. */
async function reads(subject: Running, id: ExecId, count: number): Promise<void> {
  while ((await subject.execs.get(id)).attached < count) await Bun.sleep(1); // joining tells nobody
}

function started(outputs: readonly ExecOutput[]): { readonly id: ExecId } {
  const [first] = outputs;
  if (first?.kind !== "started") throw new Error("it has not started");
  return first;
}

async function* sent(lines: readonly string[], ...then: readonly ExecInput[]): AsyncGenerator<ExecInput> {
  for (const line of lines) yield { kind: "stdin", data: Buffer.from(line) };
  yield* then;
}

/** An input that stays open. */
async function* open(): AsyncGenerator<ExecInput> {
  yield* none();
  await new Promise(() => {});
}
