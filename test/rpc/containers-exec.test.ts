import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { callEngine } from "../../scripts/engine-api.ts";
import {
  EventType,
  type ExecContainerResponse,
} from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { thrown } from "../client/thrown.ts";
import { engineContainers } from "../daemon/engine-containers.ts";
import { engine } from "../engine.ts";
import {
  type ContainerServer,
  containerServer,
  type ExecFrame,
  type ExecStartInit,
  eventOf,
  exec,
  type Heard,
  outcome,
  residentMiB,
} from "./container-client.ts";

/** Says that it runs, and runs until it is ended. */
const ENDLESS = ["sh", "-c", "echo on; while :; do sleep 0.05; done"];

const EMPTY_TERMINAL = { containerId: "x", command: ["true"], tty: true, size: { columns: 0, rows: 0 } };

let shared: ContainerServer;
let containerId = "";

beforeAll(async () => {
  await engine();
  shared = await containerServer();
  containerId = await shared.create();
}, 300_000);
afterAll(() => shared[Symbol.asyncDispose]());

describe("ExecContainer ends", () => {
  test.each([
    [["true"], 0],
    [["sh", "-c", "exit 1"], 1],
    [["/etc/passwd"], 126],
    [["/etc"], 126],
    [["nothing-of-this-name"], 127],
    [["/nothing/of/this/name"], 127],
    [["sh", "-c", "kill -9 $$"], 137],
  ] as const)("%p with code %p", async (command, code) => {
    const { ends, order, stderr } = await run({ command: [...command] });
    expect(ends).toMatchObject([{ how: { case: "exited", value: { code } } }]);
    expect(order.at(0)).toBe("started");
    expect(order.at(-1)).toBe("end");
    expect(stderr.length > 0).toBe(code === 126 || code === 127);
  });

  test("a user that is not there with 126, and says so on stderr", async () => {
    const { ends, stderr, stdout } = await run({ command: ["true"], user: "nobody-of-this-name" });
    expect(ends).toMatchObject([{ how: { case: "exited", value: { code: 126 } } }]);
    expect(stderr.toString()).toContain("nobody-of-this-name");
    expect(stdout.toString()).toBe("");
  });

  test.each([
    ["SIGTERM", 15],
    ["KILL", 9],
  ] as const)("by %s of its caller, with all that it has started", async (name, number) => {
    const mark = marker();
    const command = ["sh", "-c", `sleep ${mark} & echo on; wait; while :; do sleep 0.05; done`];
    const { ends } = await run({ command }, async function* (heard) {
      await heard("on");
      yield { payload: { case: "signal", value: name } };
    });
    expect(ends).toMatchObject([{ how: { case: "signalled", value: { number } } }]);
    await expectGone(mark);
  });

  test("by a signal's name in small letters", async () => {
    const { ends } = await run({ command: ENDLESS }, async function* (heard) {
      await heard("on");
      yield { payload: { case: "signal", value: "int" } };
    });
    expect(ends).toMatchObject([{ how: { case: "signalled", value: { signal: "SIGINT", number: 2 } } }]);
  });

  test("by itself when it traps the signal", async () => {
    const command = ["sh", "-c", "trap 'echo trapped; exit 9' INT; echo on; while :; do sleep 0.05; done"];
    const { ends, stdout } = await run({ command }, async function* (heard) {
      await heard("on");
      yield { payload: { case: "signal", value: "INT" } };
    });
    expect(ends).toMatchObject([{ how: { case: "exited", value: { code: 9 } } }]);
    expect(stdout.toString()).toBe("on\ntrapped\n");
  });

  test("by its time-out, with all that it has started", async () => {
    const mark = marker();
    const timeoutNs = 400_000_000n;
    const { ends } = await run({ command: ["sh", "-c", `sleep ${mark}; echo no`], timeoutNs });
    expect(ends).toMatchObject([{ how: { case: "timedOut", value: { timeoutNs } } }]);
    await expectGone(mark);
  });

  test("by itself when its time is over only while its output is being read", async () => {
    const answers = shared.client.orchestrator.execContainer(
      frames({ command: ["echo", "done"], timeoutNs: 700_000_000n }),
    );
    const seen: ExecContainerResponse[] = [];
    for await (const frame of answers) seen.push(frame);
    expect(outcome(seen).ends).toMatchObject([{ how: { case: "exited", value: { code: 0 } } }]);
  });

  test("when its main process does, although a child holds its output", async () => {
    const mark = marker();
    const { ends, stdout } = await run({ command: ["sh", "-c", `sleep ${mark} & echo early; exit 5`] });
    expect(ends).toMatchObject([{ how: { case: "exited", value: { code: 5 } } }]);
    expect(stdout.toString()).toBe("early\n");
  });

  test("although its caller leaves stdin open", async () => {
    const open = Promise.withResolvers<void>();
    const { ends } = await run({ command: ["head", "-c", "2"], stdin: true }, async function* () {
      yield { payload: { case: "stdin", value: Buffer.from("xyz") } };
      await open.promise;
    });
    open.resolve();
    expect(ends).toMatchObject([{ how: { case: "exited", value: { code: 0 } } }]);
  });

  test.each(["cancel", "deadline"] as const)(
    "when its caller's call ends by %s: killed, and told in the log",
    async (how) => {
      const mark = marker();
      const caller = new AbortController();
      const seen: ExecContainerResponse[] = [];
      const failure = await thrown(() =>
        run(
          { command: ["sh", "-c", `echo on; sleep ${mark}; echo no`] },
          async function* (heard) {
            await heard("on");
            if (how === "cancel") caller.abort();
            yield* open();
          },
          { frames: seen, options: how === "cancel" ? { signal: caller.signal } : { timeoutMs: 700 } },
        ),
      );
      expect(failure.kind).toBe(how === "cancel" ? "cancelled" : "deadline_exceeded");
      const { execId } = outcome(seen);
      const event = await finished(execId);
      expect(event.data).toMatchObject({ end: "cancelled" });
      await expectGone(mark);
    },
  );

  test("without a process when its caller cancels in the moment of its start", async () => {
    const mark = marker();
    await Promise.all(
      Array.from({ length: 12 }, async (_, n) => {
        const caller = new AbortController();
        const running = run({ command: ["sleep", mark] }, open, { options: { signal: caller.signal } }).catch(
          () => {},
        );
        setTimeout(() => caller.abort(), n * 12);
        await running;
      }),
    );
    await expectGone(mark);
  });
});

describe("ExecContainer refuses", () => {
  const wrong: Readonly<Record<string, readonly [ExecStartInit, ExecFrame]>> = {
    "a second start": [{}, { payload: { case: "start", value: { command: ["true"] } } }],
    "stdin that was not announced": [{}, { payload: { case: "stdin", value: Buffer.from("x") } }],
    "a resize without a terminal": [{}, { payload: { case: "resize", value: { columns: 1, rows: 1 } } }],
    "a terminal that is too large": [
      { tty: true },
      { payload: { case: "resize", value: { columns: 65_536, rows: 1 } } },
    ],
    "a terminal without rows": [
      { tty: true },
      { payload: { case: "resize", value: { columns: 80, rows: 0 } } },
    ],
    "an unknown signal": [{}, { payload: { case: "signal", value: "SIGNONE" } }],
    "a frame without a payload": [{}, {}],
  };
  test.each(Object.keys(wrong))("%s, and kills the command", async (what) => {
    const [start, frame] = wrong[what] ?? [{}, {}];
    const mark = marker();
    const seen: ExecContainerResponse[] = [];
    const failure = await thrown(() =>
      run(
        { command: ["sh", "-c", `echo on; sleep ${mark}; echo no`], ...start },
        async function* (heard) {
          await heard("on");
          yield frame;
          yield* open();
        },
        { frames: seen },
      ),
    );
    expect(failure.kind).toBe("invalid_argument");
    expect(outcome(seen).ends).toEqual([]);
    await finished(outcome(seen).execId);
    await expectGone(mark);
  });

  test.each([
    ["nothing at all", []],
    ["stdin first", [{ payload: { case: "stdin", value: Buffer.from("x") } }]],
    ["an empty frame first", [{}]],
    ["no container", [{ payload: { case: "start", value: { command: ["true"] } } }]],
    ["no command", [{ payload: { case: "start", value: { containerId: "x" } } }]],
    ["a terminal of size 0", [{ payload: { case: "start", value: EMPTY_TERMINAL } }]],
  ] as const)("%s", async (_, requests: readonly unknown[]) => {
    const failure = await thrown(async () => {
      // as: the table's rows are frames, which `as const` has made too narrow
      for await (const _ of shared.client.orchestrator.execContainer(sent(requests as ExecFrame[])));
    });
    expect(failure.kind).toBe("invalid_argument");
  });

  test("a container that is not there, that has exited, or that is paused", async () => {
    expect((await thrown(() => run({ command: ["true"], containerId: "nobody" }))).kind).toBe("not_found");
    const exited = await shared.create({ command: ["true"] });
    await shared.client.orchestrator.waitContainer({ containerId: exited });
    expect((await thrown(() => run({ command: ["true"], containerId: exited }))).kind).toBe(
      "failed_precondition",
    );
    const paused = await shared.create();
    const found = await engineContainers(shared.dockerHost, shared.sessionId);
    const { Id = "" } = found.find(({ Labels }) => Labels["baaaht.container"] === paused) ?? {};
    await callEngine(shared.dockerHost, `/containers/${Id}/pause`, { method: "POST" });
    expect((await thrown(() => run({ command: ["true"], containerId: paused }))).kind).toBe(
      "failed_precondition",
    );
    for (const id of [exited, paused])
      await shared.client.orchestrator.removeContainer({ containerId: id, force: true });
  });
});

describe("ExecContainer carries", () => {
  test("10 MB both ways, byte for byte, to the client's half-close and to close_stdin", async () => {
    const data = Buffer.alloc(10_000_000);
    for (let at = 0; at < data.length; at += 4) data.writeUInt32LE((at * 2_654_435_761) >>> 0, at);
    for (const closes of [true, false]) {
      const { stdout, ends } = await run({ command: ["cat"], stdin: true }, async function* () {
        for (let at = 0; at < data.length; at += 500_000)
          yield { payload: { case: "stdin", value: data.subarray(at, at + 500_000) } };
        if (!closes) return;
        yield { payload: { case: "closeStdin", value: {} } };
        yield* open();
      });
      expect(ends).toMatchObject([{ how: { case: "exited", value: { code: 0 } } }]);
      expect(stdout.equals(data)).toBe(true);
    }
  });

  test("output that is no text, with stdout and stderr apart", async () => {
    const command = ["sh", "-c", "printf '\\377\\000\\200'; printf '\\001\\376' >&2"];
    const { stdout, stderr } = await run({ command });
    expect([...stdout]).toEqual([255, 0, 128]);
    expect([...stderr]).toEqual([1, 254]);
  });

  test("environment, folder and user to the command", async () => {
    const { stdout } = await run({
      command: ["sh", "-c", 'echo "$WORD"; pwd; id -u'],
      env: { WORD: "ü = 'x'" },
      workingDir: "/tmp",
      user: "app",
    });
    expect(stdout.toString()).toBe("ü = 'x'\n/tmp\n1000\n");
  });

  test("a terminal with its first size and its later ones", async () => {
    // An engine before API 1.42 gives the first size a moment after the start.
    const sized = 'until [ "$(stty size)" = "33 101" ]; do sleep 0.02; done 2>/dev/null';
    const resized = "trap 'stty size; exit 3' WINCH; echo on; while :; do sleep 0.05; done";
    const command = ["sh", "-c", `${sized}; ${resized}`];
    const start = { command, tty: true, size: { columns: 101, rows: 33 } };
    const { stdout, ends } = await run(start, async function* (heard) {
      await heard("on");
      yield { payload: { case: "resize", value: { columns: 77, rows: 22 } } };
      yield* open();
    });
    expect(stdout.toString().split(/\s+/).join(" ").trim()).toBe("on 22 77");
    expect(ends).toMatchObject([{ how: { case: "exited", value: { code: 3 } } }]);
  });

  test("Ctrl-C and Ctrl-D through a terminal", async () => {
    const { stdout, ends } = await run(
      {
        command: ["sh", "-c", "trap 'echo caught' INT; echo on; read line; cat; exit 4"],
        tty: true,
        stdin: true,
      },
      async function* (heard) {
        await heard("on");
        yield { payload: { case: "stdin", value: Buffer.from("\x03") } };
        await heard("caught");
        yield { payload: { case: "stdin", value: Buffer.from("typed\n") } };
        await heard("typed");
        yield { payload: { case: "stdin", value: Buffer.from("\x04") } };
        yield* open();
      },
    );
    expect(stdout.toString()).toContain("caught");
    expect(ends).toMatchObject([{ how: { case: "exited", value: { code: 4 } } }]);
  });

  test("50 commands at once, each with its own output", async () => {
    const outcomes = await Promise.all(
      Array.from({ length: 50 }, (_, n) =>
        run({ command: ["sh", "-c", `read line; echo $line; exit ${n}`], stdin: true }, () =>
          sent([{ payload: { case: "stdin", value: Buffer.from(`line ${n}\n`) } }]),
        ),
      ),
    );
    outcomes.forEach(({ stdout, ends }, n) => {
      expect(stdout.toString()).toBe(`line ${n}\n`);
      expect(ends).toMatchObject([{ how: { case: "exited", value: { code: n } } }]);
    });
  }, 20_000);

  test("nothing into memory that its client does not read, and gives the engine's connection back", async () => {
    const { pid } = shared.server;
    const sockets = async () =>
      (await Array.fromAsync(new Bun.Glob("*").scan({ cwd: `/proc/${pid}/fd`, onlyFiles: false }))).length;
    const before = { memory: await residentMiB(pid), sockets: await sockets() };
    const mark = marker();
    const client = shared.server.connect();
    const answers = client.orchestrator.execContainer(frames({ command: ["yes", mark] }));
    const reader = answers[Symbol.asyncIterator]();
    for (let read = 0; read < 3; read += 1) await reader.next();
    let most = 0;
    for (let look = 0; look < 10; look += 1) {
      await Bun.sleep(100); // the time in which a server without backpressure would fill
      most = Math.max(most, await residentMiB(pid));
    }
    expect(most - before.memory).toBeLessThan(60);
    await client[Symbol.asyncDispose]();
    await expectGone(mark);
    while ((await sockets()) > before.sockets + 2) await Bun.sleep(20); // /proc tells nobody
  }, 20_000);
});

describe("ExecContainer and the end of the server", () => {
  test("SIGTERM cancels what runs, tells so in an end frame, and leaves no process", async () => {
    await using own = await containerServer();
    const id = await own.create();
    const mark = marker();
    const seen: ExecContainerResponse[] = [];
    let stopped: Promise<number> | undefined;
    const running = run(
      { command: ["sh", "-c", `echo on; sleep ${mark}; echo no`], containerId: id },
      async function* (heard) {
        await heard("on");
        stopped = own.server.stop();
        yield* open();
      },
      { frames: seen, server: own },
    );
    await running;
    expect(await stopped).toBe(0);
    const { ends, execId } = outcome(seen);
    expect(ends).toMatchObject([{ how: { case: "cancelled" } }]);
    await using again = await containerServer({ dataDir: own.server.dataDir });
    const event = await finished(execId, again);
    expect(event.data).toMatchObject({ end: "cancelled", reason: expect.stringContaining("shutting down") });
    await expectGone(mark, again, id);
    await again.client.orchestrator.closeSession({ sessionId: own.sessionId }, { timeoutMs: 30_000 });
  }, 30_000);

  test("kill -9 leaves a command whose end nobody knows, and the next start says so once", async () => {
    await using own = await containerServer();
    const id = await own.create();
    const seen: ExecContainerResponse[] = [];
    await run(
      { command: ENDLESS, containerId: id },
      async function* (heard) {
        await heard("on");
        await own.server.kill();
        yield* open();
      },
      { frames: seen, server: own },
    ).catch(() => {});
    await using again = await containerServer({ dataDir: own.server.dataDir });
    const { execId } = outcome(seen);
    const event = await finished(execId, again);
    expect(event).toMatchObject({ source: "containers", data: { end: "unknown" } });
    await again.client.orchestrator.closeSession({ sessionId: own.sessionId }, { timeoutMs: 30_000 });
  }, 30_000);
});

/** Runs a command in the shared container unless the start names another. */
async function run(
  start: ExecStartInit & { readonly containerId?: string },
  input?: (heard: Heard) => AsyncIterable<ExecFrame>,
  more: {
    readonly options?: Parameters<typeof shared.client.orchestrator.execContainer>[1];
    readonly frames?: ExecContainerResponse[];
    readonly server?: ContainerServer;
  } = {},
) {
  const { server = shared, options, frames: seen } = more;
  return await exec(
    server.client,
    { containerId, ...start },
    {
      ...(input === undefined ? {} : { input }),
      ...(options === undefined ? {} : { options }),
      ...(seen === undefined ? {} : { frames: seen }),
    },
  );
}

function frames(start: ExecStartInit): AsyncGenerator<ExecFrame> {
  return sent([{ payload: { case: "start", value: { containerId, ...start } } }]);
}

async function* sent(requests: readonly ExecFrame[]): AsyncGenerator<ExecFrame> {
  yield* requests;
}

/** Keeps the caller's side of a stream open. */
async function* open(): AsyncGenerator<ExecFrame> {
  yield* sent([]);
  await new Promise(() => {});
}

async function finished(execId: string, server: ContainerServer = shared) {
  return await eventOf(server.client, EventType.EXEC_FINISHED, ({ data }) => data.exec_id === execId);
}

let marks = 0;
/** A number of seconds that no other process sleeps. */
function marker(): string {
  marks += 1;
  return `9${process.pid}${marks}`;
}

/** Waits until no process of the container has the mark among its words. */
async function expectGone(mark: string, server: ContainerServer = shared, id = containerId): Promise<void> {
  const looking = ["sh", "-c", `ps -o args | grep '${mark.slice(0, -1)}[${mark.slice(-1)}]' | grep -v grep`];
  for (let left = "?"; left !== ""; ) {
    const { stdout } = await exec(server.client, { containerId: id, command: looking });
    left = stdout.toString();
    if (left !== "") await Bun.sleep(20); // nor does a process that ends
  }
}
