import { describe, expect, test } from "bun:test";
import { engineName } from "../../../src/containers/container.ts";
import {
  type ExecInput,
  type ExecOutput,
  type ExecStart,
  execTable,
} from "../../../src/containers/execs/exec.ts";
import { Failure } from "../../../src/failure.ts";
import { COMMAND_MAY_RUN } from "../../../src/runtime/runtime.ts";
import { put } from "../../../src/store/store.ts";
import { thrown } from "../../client/thrown.ts";
import { afterwards, ENDLESS, ends, none, running, text } from "../exec-subject.ts";

describe("run()", () => {
  test.each([
    [["true"], 0],
    [["sh", "-c", "exit 126"], 126],
    [["sh", "-c", "exit 255"], 255],
    [["nothing-of-this-name"], 127],
  ] as const)("ends %p with code %p", async (command, code) => {
    await using subject = await running();
    const outputs = await subject.run({ command });
    expect(outputs.at(0)?.kind).toBe("started");
    expect(ends(outputs)).toEqual([{ kind: "exited", code }]);
    expect(outputs.at(-1)?.kind).toBe("end");
    await subject.expectEnded("exited");
  });

  test("tells its start and its end, with who did it", async () => {
    await using subject = await running();
    const [started] = await subject.run({ command: ["sh", "-c", "exit 3"] });
    const events = await subject.events("exec_started", "exec_finished");
    const id = started?.kind === "started" ? started.id : "";
    const common = { source: "orchestrator.grpc", actor: "uid:1", labels: { team: "blue" } };
    expect(events).toMatchObject([
      { ...common, type: "exec_started", data: { exec_id: id, command: "sh -c exit 3" } },
      { ...common, type: "exec_finished", data: { exec_id: id, end: "exited", exit_code: "3" } },
    ]);
  });

  test.each([
    ["TERM", 15],
    ["KILL", 9],
    ["INT", 2],
    ["SIGHUP", 1],
    ["term", 15],
    ["15", 15],
  ] as const)("is signalled when its caller sends %s", async (name, number) => {
    await using subject = await running();
    const outputs = await subject.run({ command: ENDLESS }, async function* (heard) {
      await heard("on");
      yield { kind: "signal", name };
    });
    expect(ends(outputs)).toMatchObject([{ kind: "signalled", number }]);
    await subject.expectEnded("signalled");
  });

  test("goes on when it traps the signal", async () => {
    await using subject = await running();
    const command = ["sh", "-c", "trap 'exit 9' INT; echo on; while true; do sleep 0.01; done"];
    const outputs = await subject.run({ command }, async function* (heard) {
      await heard("on");
      yield { kind: "signal", name: "INT" };
    });
    expect(ends(outputs)).toEqual([{ kind: "exited", code: 9 }]);
  });

  test("is timed out after its time", async () => {
    await using subject = await running();
    const outputs = await subject.run({ command: ENDLESS, timeoutNs: 30_000_000n });
    expect(ends(outputs)).toEqual([{ kind: "timed_out", timeoutNs: 30_000_000n }]);
    await subject.noProcess();
    await subject.expectEnded("timed_out");
  });

  test("is cancelled when its caller cancels: it is killed, and tells who hears it", async () => {
    await using subject = await running();
    const caller = new AbortController();
    const outputs: ExecOutput[] = [];
    for await (const output of subject.execs.run(
      subject.start({ command: ENDLESS }),
      none(),
      subject.call(caller.signal),
    )) {
      outputs.push(output);
      if (output.kind === "stdout") caller.abort(new Failure("cancelled", "Cannot go on: the client left"));
    }
    expect(ends(outputs)).toEqual([{ kind: "cancelled", reason: "the client left" }]);
    await subject.noProcess();
    await subject.expectEnded("cancelled");
  });

  test("is cancelled when its reader leaves", async () => {
    await using subject = await running();
    for await (const output of subject.execs.run(subject.start({ command: ENDLESS }), none(), subject.call()))
      if (output.kind === "stdout") break;
    await subject.noProcess();
    await subject.expectEnded("cancelled");
  });

  test("is cancelled when its reader leaves before it has read any output", async () => {
    await using subject = await running();
    for await (const output of subject.execs.run(subject.start({ command: ENDLESS }), none(), subject.call()))
      if (output.kind === "started") break;
    await subject.noProcess();
    await subject.expectEnded("cancelled");
  });

  test("leaves no process when its caller goes away while the engine begins it", async () => {
    await using subject = await running();
    const gate = subject.runtime.hold("exec", "after");
    const caller = new AbortController();
    const outputs: ExecOutput[] = [];
    const reading = (async () => {
      const run = subject.execs.run(subject.start({ command: ENDLESS }), none(), subject.call(caller.signal));
      for await (const output of run) outputs.push(output);
    })();
    await gate.reached;
    caller.abort(new Failure("cancelled", "Cannot go on: the client left"));
    gate.release();
    await reading;
    expect(ends(outputs)).toMatchObject([{ kind: "cancelled" }]);
    await subject.noProcess();
    await subject.expectEnded("cancelled");
  });

  test("that may have begun is told of as that, and never as one that could not be started", async () => {
    await using subject = await running();
    const lost =
      "Cannot run a command in the container: whether it has begun is not known: the connection broke";
    for (const details of [{ reason: COMMAND_MAY_RUN }, {}]) {
      subject.runtime.fail("exec", new Failure("unavailable", lost, details));
      const refused = await thrown(() => subject.run({ command: ["true"] }));
      subject.runtime.mend("exec");
      const [told] = (await subject.events("exec_finished")).slice(-1);
      expect(refused.message.includes("could not be started")).toBe(false);
      expect(told?.data?.reason?.includes("could not be started")).toBe(details.reason === undefined);
    }
  });

  test("begins nothing that can't be written down first", async () => {
    await using subject = await running();
    const { store } = subject;
    const change = store.change;
    store.change = () => Promise.reject(new Failure("resource_exhausted", "Cannot write: the disk is full"));
    const refused = await thrown(() => subject.run({ command: ["touch", "/tmp/begun"] }));
    expect(refused.kind).toBe("resource_exhausted");
    store.change = change;
    await subject.run({ command: ["true"] });
    const signal = AbortSignal.timeout(5_000);
    expect(await subject.runtime.stat(engineName(subject.id), "/tmp/begun", signal)).toBeUndefined();
    expect(subject.execs.running).toBe(0);
  });

  test("ends with its end frame also when that can't be written down, and writes it when it can", async () => {
    await using subject = await running();
    const { store } = subject;
    const change = store.change;
    const outputs: ExecOutput[] = [];
    for await (const output of subject.execs.run(
      subject.start({ command: ["true"] }),
      none(),
      subject.call(),
    )) {
      outputs.push(output);
      store.change = () =>
        Promise.reject(new Failure("resource_exhausted", "Cannot write: the disk is full"));
    }
    expect(ends(outputs)).toEqual([{ kind: "exited", code: 0 }]);
    store.change = change;
    const filter = { types: ["exec_finished"] } as const;
    for await (const _ of subject.log.follow({ after: 0, filter, signal: subject.call().signal })) break;
    await subject.expectEnded("exited");
  });

  test("is unknown, with the reason, when the engine is lost under it", async () => {
    await using subject = await running();
    const outputs = await subject.run({ command: ENDLESS }, (heard) =>
      afterwards(async () => {
        await heard("on");
        subject.runtime.goDown("it was turned off");
      }),
    );
    expect(ends(outputs)).toMatchObject([
      { kind: "unknown", reason: expect.stringContaining("it was turned off") },
    ]);
    await subject.expectEnded("unknown");
  });

  test("is unknown, not timed out, when it can't be killed", async () => {
    await using subject = await running();
    const outputs = await subject.run({ command: ENDLESS, timeoutNs: 50_000_000n }, (heard) =>
      afterwards(async () => {
        await heard("on");
        subject.runtime.goDown("it was turned off");
      }),
    );
    expect(ends(outputs)).toMatchObject([{ kind: "unknown" }]);
  });

  test.each(["stop", "kill", "remove"] as const)("ends when its container ends by %s", async (how) => {
    await using subject = await running();
    const { signal } = subject.call();
    const name = engineName(subject.id);
    const outputs = await subject.run({ command: ENDLESS }, (heard) =>
      afterwards(async () => {
        await heard("on");
        if (how === "stop") await subject.runtime.stop(name, { graceMs: 1 }, signal);
        if (how === "kill") await subject.runtime.kill(name, { signalName: "KILL" }, signal);
        if (how === "remove") await subject.runtime.remove(name, signal);
      }),
    );
    expect(ends(outputs)).toHaveLength(1);
    expect(ends(outputs)).toMatchObject([
      { kind: "unknown", reason: expect.stringMatching(/container .*(gone|ended|removed)/) },
    ]);
    expect(await subject.openExecs()).toBe(0);
  });

  test.each([
    ["stopped by a call", "it was stopped by a call"],
    ["removed by a call", "it was removed by a call"],
    ["removed with its session", "its session was closed"],
  ] as const)("is cancelled when its container is %s", async (how, reason) => {
    await using subject = await running();
    const outputs = await subject.run({ command: ENDLESS }, (heard) =>
      afterwards(async () => {
        await heard("on");
        if (how === "stopped by a call")
          await subject.containers.stop(subject.id, { graceMs: 1 }, subject.call());
        if (how === "removed by a call")
          await subject.containers.remove(subject.id, { how: "force" }, subject.call());
        if (how === "removed with its session")
          await subject.sessions.close(subject.sessionId, { reason: "done" }, subject.call());
      }),
    );
    expect(ends(outputs)).toEqual([{ kind: "cancelled", reason: `its container was ended: ${reason}` }]);
    await subject.expectEnded("cancelled");
  });

  test("is exited when it ends by itself while its container is being stopped", async () => {
    await using subject = await running();
    const sessionId = await subject.session();
    const stubborn = ["sh", "-c", "trap 'true' TERM; while true; do sleep 0.01; done"];
    const { id: containerId } = await subject.create(sessionId, { command: stubborn });
    const gate = subject.runtime.hold("stop", "before");
    let stopping: Promise<unknown> | undefined;
    const outputs = await subject.run(
      { command: ["sh", "-c", "echo on; read go; exit 6"], stdin: true, containerId },
      async function* (heard) {
        await heard("on");
        stopping = subject.containers.stop(containerId, { graceMs: 1 }, subject.call());
        await gate.reached;
        yield { kind: "stdin", data: Buffer.from("go\n") };
      },
    );
    expect(ends(outputs)).toEqual([{ kind: "exited", code: 6 }]);
    gate.release();
    await stopping;
  });

  test("is exited with 137 when it kills itself and its container runs on", async () => {
    await using subject = await running();
    const outputs = await subject.run({ command: ["sh", "-c", "exit 137"] });
    expect(ends(outputs)).toEqual([{ kind: "exited", code: 137 }]);
  });

  const wrong: Readonly<Record<string, readonly [Partial<ExecStart>, ExecInput]>> = {
    "stdin without start.stdin": [{}, { kind: "stdin", data: Buffer.from("x") }],
    "a resize without start.tty": [{}, { kind: "resize", columns: 1, rows: 1 }],
    "an unknown signal": [{}, { kind: "signal", name: "SIGNONE" }],
    "an empty signal": [{}, { kind: "signal", name: "" }],
    "the signal 0": [{}, { kind: "signal", name: "0" }],
  };
  test.each(Object.keys(wrong))("kills and is INVALID_ARGUMENT on %s", async (what) => {
    await using subject = await running();
    const [start, frame] = wrong[what] ?? [{}, { kind: "close_stdin" }];
    const outputs: ExecOutput[] = [];
    const failure = await thrown(() =>
      subject.run(
        { command: ENDLESS, ...start },
        async function* (heard) {
          await heard("on");
          yield frame;
        },
        outputs,
      ),
    );
    expect(failure.kind).toBe("invalid_argument");
    expect(failure.details.violations).toHaveLength(1);
    expect(ends(outputs)).toEqual([]);
    await subject.noProcess();
    await subject.expectEnded("cancelled");
  });

  test("does not mind frames that come when it has ended", async () => {
    await using subject = await running();
    for (const frame of [
      { kind: "signal", name: "TERM" },
      { kind: "resize", columns: 9, rows: 9 },
      { kind: "stdin", data: Buffer.from("late") },
    ] as const) {
      const start = { command: ["echo", "on"], stdin: true, tty: true };
      const run = subject.execs.run(subject.start(start), late(frame), subject.call());
      const outputs: ExecOutput[] = [];
      for await (const output of run) outputs.push(output);
      expect(ends(outputs)).toEqual([{ kind: "exited", code: 0 }]);
    }

    /** A frame that is sent once no process is left. */
    async function* late(frame: ExecInput): AsyncGenerator<ExecInput> {
      await subject.noProcess();
      yield frame;
    }
  });

  test("reads stdin to its end, by close_stdin and by the end of its input", async () => {
    await using subject = await running();
    for (const closes of [true, false]) {
      const outputs = await subject.run({ command: ["cat"], stdin: true }, async function* () {
        yield { kind: "stdin", data: Buffer.from("one ") };
        yield { kind: "stdin", data: Buffer.from("two") };
        if (closes) yield { kind: "close_stdin" };
      });
      expect(text(outputs)).toBe("one two");
      expect(ends(outputs)).toEqual([{ kind: "exited", code: 0 }]);
    }
  });

  test("ends although its input stays open", async () => {
    await using subject = await running();
    const forever = Promise.withResolvers<never>();
    const outputs = await subject.run({ command: ["echo", "x"], stdin: true }, async function* () {
      yield { kind: "stdin", data: Buffer.from("y") };
      await forever.promise;
    });
    expect(ends(outputs)).toEqual([{ kind: "exited", code: 0 }]);
  });

  test("runs no more than max_execs at once, and again when one has ended", async () => {
    await using subject = await running({ BAAAHT_RUNTIME_MAX_EXECS: "3" });
    const ended = new AbortController();
    const first = Array.from({ length: 3 }, () =>
      subject.run({ command: ENDLESS }, async function* (heard) {
        await heard("on");
        ready.push("on");
        if (ready.length === 3) full.resolve();
        await new Promise((resolve) => ended.signal.addEventListener("abort", resolve));
        yield { kind: "signal", name: "KILL" };
      }),
    );
    const ready: string[] = [];
    const full = Promise.withResolvers<void>();
    await full.promise;
    expect(await thrown(() => subject.run({ command: ["true"] }))).toMatchObject({
      kind: "resource_exhausted",
      details: { reason: "TOO_MANY_EXECS" },
    });
    ended.abort();
    for (const outputs of await Promise.all(first)) expect(ends(outputs)).toHaveLength(1);
    expect(ends(await subject.run({ command: ["true"] }))).toEqual([{ kind: "exited", code: 0 }]);
    expect(subject.execs.running).toBe(0);
  });

  test("needs a container that is there and runs, also where only the engine knows it yet", async () => {
    await using subject = await running();
    const { signal } = subject.call();
    const name = engineName(subject.id);
    const refused = async () => await thrown(() => subject.run({ command: ["true"] }));
    const notRunning = {
      kind: "failed_precondition",
      details: { reason: "CONTAINER_NOT_RUNNING", metadata: { container_id: subject.id } },
    };
    await subject.runtime.pause(name, signal);
    expect(await refused()).toMatchObject(notRunning);
    await subject.runtime.resume(name, signal);
    await subject.runtime.stop(name, { graceMs: 1 }, signal);
    expect(await refused()).toMatchObject(notRunning);
    await subject.containers.remove(subject.id, { how: "force" }, subject.call());
    expect(await refused()).toMatchObject({
      kind: "not_found",
      details: { reason: "CONTAINER_NOT_FOUND", metadata: { container_id: subject.id } },
    });
    // What the engine refuses was intended, and the log says how that ended; what the row knows by then was not.
    const told = await subject.events("exec_started", "exec_finished");
    expect([0, 2, 4]).toContain(told.length);
    expect(told.map(({ type, data }) => `${type} ${data?.end ?? ""}`.trim())).toEqual(
      Array.from({ length: told.length / 2 }).flatMap(() => ["exec_started", "exec_finished unknown"]),
    );
  });

  test.each([
    ["start.command", { command: [] }],
    ["start.command", { command: ["", "x"] }],
    ["start.command", { command: ["a\0b"] }],
    ["start.command", { command: Array.from({ length: 4_097 }, () => "x") }],
    ["start.command", { command: Array.from({ length: 17 }, () => "x".repeat(131_071)) }],
    ["start.command", { command: ["echo", "ü".repeat(65_536)] }],
    ["start.env", { env: { NAME: "x".repeat(131_071 - 4) } }],
    ["start.env", { env: { "A=B": "" } }],
    ["start.env", { env: { "": "" } }],
    ["start.working_dir", { workingDir: "here" }],
    ["start.timeout_ns", { timeoutNs: -1n }],
  ] as const)("names %s when that is wrong", async (field, start) => {
    await using subject = await running();
    const failure = await thrown(() => subject.run({ command: ["true"], ...start }));
    expect(failure.kind).toBe("invalid_argument");
    expect(failure.details.violations?.map((violation) => violation.field)).toEqual([field]);
  });
});

describe("run() and the longest words", () => {
  test("takes a word, and a variable, as long as the kernel does", async () => {
    await using subject = await running();
    const command = ["sh", "-c", "exit 3", "x".repeat(131_071)];
    const outputs = await subject.run({ command, env: { NAME: "x".repeat(131_071 - 5) } });
    expect(ends(outputs)).toEqual([{ kind: "exited", code: 3 }]);
  });
});

describe("settleLeftovers()", () => {
  test("ends as unknown what a server before this one has left, all of it, and nothing of its own", async () => {
    await using before = await running();
    const left = Array.from({ length: 1_203 }, (_, n) => ({
      id: `left-${n}` as never, // as: any text may be an id
      containerId: before.id,
      sessionId: before.sessionId,
      command: ["x"],
      startedAt: 1,
      tty: false,
      stdin: false,
      onDisconnect: "kill" as const,
      life: { state: "running" as const },
    }));
    await before.store.change({}, () => ({
      result: undefined,
      rows: left.map((row) => put(execTable, row)),
      events: [],
    }));
    const outputs = await before.run({ command: ENDLESS }, async function* (heard) {
      await heard("on");
      expect(await before.execs.settleLeftovers(before.call())).toBe(1_203);
      expect(await before.openExecs()).toBe(1);
      yield { kind: "signal", name: "KILL" };
    });
    expect(ends(outputs)).toMatchObject([{ kind: "signalled" }]);
    const finished = await before.events("exec_finished");
    expect(finished).toHaveLength(1_204);
    expect(finished.filter(({ data }) => data?.end === "unknown")).toHaveLength(1_203);
    expect(finished[0]).toMatchObject({
      source: "containers",
      containerId: before.id,
      data: { end: "unknown", reason: "the server stopped while it ran" },
    });
    expect(await before.openExecs()).toBe(0);
  });
});
