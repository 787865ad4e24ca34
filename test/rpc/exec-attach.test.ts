import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  EventType,
  type ExecContainerResponse,
  ExecState,
} from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { thrown } from "../client/thrown.ts";
import { engine } from "../engine.ts";
import {
  type AttachFrame,
  attach,
  type ContainerServer,
  containerServer,
  type ExecFrame,
  type ExecStartInit,
  eventOf,
  exec,
  outcome,
  residentMiB,
} from "./container-client.ts";

/** Says a line for each that it reads. */
const ECHO = ["sh", "-c", "echo on; while read line; do echo $line; done; exit 4"];
const ENDLESS = ["sh", "-c", "echo on; while :; do sleep 0.05; done"];

let shared: ContainerServer;
let containerId = "";

beforeAll(async () => {
  await engine();
  shared = await containerServer({
    env: { BAAAHT_GRPC_STALLED_STREAM_TIMEOUT: "2s", BAAAHT_RUNTIME_EXEC_READ_PATIENCE: "500ms" },
  });
  containerId = await shared.create();
}, 300_000);
afterAll(() => shared[Symbol.asyncDispose]());

describe("ExecContainer with detach_on_disconnect", () => {
  test.each(["cancel", "deadline", "a lost connection"] as const)(
    "runs on after %s of its call, and AttachExec goes on where that has stopped",
    async (how) => {
      const caller = new AbortController();
      const seen: ExecContainerResponse[] = [];
      const client = shared.server.connect();
      const failure = await thrown(() =>
        exec(
          client,
          { containerId, command: ECHO, stdin: true, detachOnDisconnect: true },
          {
            frames: seen,
            options:
              how === "cancel" ? { signal: caller.signal } : how === "deadline" ? { timeoutMs: 1_500 } : {},
            input: async function* (heard) {
              await heard("on");
              if (how === "cancel") caller.abort();
              if (how === "a lost connection") void client[Symbol.asyncDispose]();
              yield* open();
            },
          },
        ),
      );
      expect(failure.kind).toBe(how === "deadline" ? "deadline_exceeded" : "cancelled");
      const { execId } = outcome(seen);
      const after = await attach(
        shared.client,
        { execId, offset: 3n },
        { input: () => sent([stdin("more\n"), { payload: { case: "closeStdin", value: {} } }]) },
      );
      expect([after.stdout.toString(), after.order]).toEqual(["more\n", ["started", "stdout", "end"]]);
      expect(after.ends).toMatchObject([{ how: { case: "exited", value: { code: 4 } } }]);
      const told = await finished(execId);
      expect(told.data).toMatchObject({ end: "exited", exit_code: "4" });
    },
  );

  test("runs on when its client does not read: that is told where to go on, and the command is held up no longer", async () => {
    const client = shared.server.connect();
    const start = { containerId, command: ["sh", "-c", "seq 1 400000; exit 5"], detachOnDisconnect: true };
    const reader = client.orchestrator.execContainer(frames(start))[Symbol.asyncIterator]();
    const first = await reader.next();
    if (first.done === true) throw new Error("it has begun");
    const { execId } = outcome([first.value]);
    const told = await finished(execId);
    expect(told.data).toMatchObject({ end: "exited", exit_code: "5" });
    const failure = await thrown(async () => {
      while ((await reader.next()).done !== true);
    });
    expect(["STREAM_NOT_READ", "OUTPUT_NOT_KEPT"]).toContain(failure.details.reason ?? "");
    expect(failure.details.metadata).toMatchObject({ exec_id: execId });
    const kept = await attach(shared.client, { execId });
    expect(kept.stdout.toString()).toEndWith("\n400000\n");
    expect(kept.stdout.length).toBe(1024 * 1024);
    expect(kept.ends).toMatchObject([{ how: { case: "exited", value: { code: 5 } } }]);
    await client[Symbol.asyncDispose]();
  }, 30_000);

  test("keeps a bounded memory of a command that writes without end while nobody reads", async () => {
    const { pid } = shared.server;
    const before = await residentMiB(pid);
    const execId = await detached({ command: ["sh", "-c", "yes | head -c 150000000; sleep 600"] });
    while ((await shown(execId)).outputBytes < 150_000_000n) await Bun.sleep(50); // its output tells nobody
    expect((await residentMiB(pid)) - before).toBeLessThan(70);
    const { oldestOffset, outputBytes } = await shown(execId);
    expect(outputBytes - oldestOffset).toBe(1024n * 1024n);
    await shared.client.orchestrator.signalExec({ execId, signal: "KILL" });
    await finished(execId);
  }, 60_000);

  test("carries 20 MB to a client that reads, byte for byte, and numbers every frame", async () => {
    const command = ["sh", "-c", "seq 1 2500000; echo err >&2"];
    const seen: ExecContainerResponse[] = [];
    const done = await exec(
      shared.client,
      { containerId, command, detachOnDisconnect: true },
      { frames: seen, options: { timeoutMs: 60_000 } },
    );
    expect(new Bun.CryptoHasher("sha1").update(done.stdout).digest("hex")).toBe(
      new Bun.CryptoHasher("sha1").update(sequence(2_500_000)).digest("hex"),
    );
    let at = 0n;
    for (const { payload, offset } of seen) {
      expect(offset).toBe(at);
      if (payload.case === "stdout" || payload.case === "stderr") at += BigInt(payload.value.length);
    }
    expect(at).toBe(BigInt(done.stdout.length + 4));
  }, 60_000);
});

describe("AttachExec", () => {
  test("is for several at once: each gets all the output, and exactly one end", async () => {
    const execId = await detached({ command: ECHO, stdin: true });
    const watching = Array.from({ length: 4 }, () => attach(shared.client, { execId, offset: 0n }));
    while ((await shown(execId)).attached < 4) await Bun.sleep(10); // joining tells nobody
    await attach(
      shared.client,
      { execId },
      { input: () => sent([stdin("x\n"), { payload: { case: "closeStdin", value: {} } }]) },
    );
    for (const { stdout, ends } of await Promise.all(watching)) {
      expect(stdout.toString()).toBe("on\nx\n");
      expect(ends).toMatchObject([{ how: { case: "exited", value: { code: 4 } } }]);
    }
  });

  test("sizes a terminal and sends signals", async () => {
    const command = ["sh", "-c", "trap 'stty size; exit 3' WINCH; echo on; while :; do sleep 0.05; done"];
    const execId = await detached({ command, tty: true, size: { columns: 80, rows: 24 } });
    const done = await attach(
      shared.client,
      { execId, offset: 0n },
      {
        input: async function* (heard) {
          await heard("on");
          yield { payload: { case: "resize", value: { columns: 77, rows: 22 } } };
          yield* open();
        },
      },
    );
    expect(done.stdout.toString()).toContain("22 77");
    const other = await detached({ command: ENDLESS });
    const signalled = await attach(
      shared.client,
      { execId: other },
      { input: () => sent([{ payload: { case: "signal", value: "SIGTERM" } }]) },
    );
    expect(signalled.ends).toMatchObject([
      { how: { case: "signalled", value: { signal: "SIGTERM", number: 15 } } },
    ]);
  });

  test("refuses what is wrong, and leaves the command alone", async () => {
    const execId = await detached({ command: ENDLESS });
    const refused = async (start: Parameters<typeof attach>[1], ...more: readonly AttachFrame[]) =>
      await thrown(() => attach(shared.client, start, { input: () => sent(more) }));
    expect(await refused({})).toMatchObject({
      kind: "invalid_argument",
      details: { violations: [{ field: "start.exec_id" }] },
    });
    expect(await refused({ execId: "nobody" })).toMatchObject({
      kind: "not_found",
      details: { reason: "EXEC_NOT_FOUND" },
    });
    for (const offset of [-1n, 4n, 2n ** 62n])
      expect(await refused({ execId, offset })).toMatchObject({
        kind: "invalid_argument",
        details: { violations: [{ field: "start.offset" }] },
      });
    expect((await refused({ execId }, stdin("x"))).kind).toBe("invalid_argument");
    expect((await refused({ execId }, { payload: { case: "start", value: { execId } } })).kind).toBe(
      "invalid_argument",
    );
    expect((await refused({ execId }, {})).kind).toBe("invalid_argument");
    const resize = { columns: 0, rows: 1 };
    expect(await refused({ execId }, { payload: { case: "resize", value: resize } })).toMatchObject({
      details: { violations: [{ field: "resize.columns" }] },
    });
    expect((await shown(execId)).state).toBe(ExecState.RUNNING);
    expect((await shared.client.orchestrator.signalExec({ execId, signal: "kill" })).exec?.id).toBe(execId);
    await finished(execId);
  });
});

describe("ListExecs", () => {
  test("lists those that run and those that have ended, with filters and pages", async () => {
    const other = await shared.create();
    const ended = (await exec(shared.client, { containerId: other, command: ["sh", "-c", "echo x; exit 3"] }))
      .execId;
    const runs = await detached({ command: [...ENDLESS, "words"], containerId: other });
    const { orchestrator } = shared.client;
    const all = await orchestrator.listExecs({ filter: { containerId: other } });
    expect(all.totalCount).toBe(2);
    expect(all.execs).toMatchObject([
      {
        id: runs,
        containerId: other,
        sessionId: shared.sessionId,
        state: ExecState.RUNNING,
        detachOnDisconnect: true,
        command: [...ENDLESS, "words"],
      },
      {
        id: ended,
        state: ExecState.ENDED,
        end: { how: { case: "exited", value: { code: 3 } } },
        outputBytes: 2n,
        oldestOffset: 0n,
      },
    ]);
    const ids = async (filter: Parameters<typeof orchestrator.listExecs>[0]["filter"]) =>
      (await orchestrator.listExecs(filter === undefined ? {} : { filter })).execs.map(({ id }) => id);
    expect(await ids({ containerId: other, state: ExecState.RUNNING })).toEqual([runs]);
    expect(await ids({ containerId: other, state: ExecState.ENDED })).toEqual([ended]);
    expect(await ids({ sessionId: "nobody" })).toEqual([]);
    expect(await ids({ sessionId: shared.sessionId })).toContain(runs);
    const first = await orchestrator.listExecs({ filter: { containerId: other }, pageSize: 1 });
    expect([first.execs.length, first.totalCount, first.cursor !== ""]).toEqual([1, 2, true]);
    const page = { filter: { containerId: other }, pageSize: 1, pageToken: first.nextPageToken };
    const second = await orchestrator.listExecs(page);
    expect(second.execs.map(({ id }) => id)).toEqual([ended]);
    expect(second.nextPageToken).toBe("");
    expect((await thrown(() => orchestrator.listExecs({ pageToken: first.nextPageToken }))).kind).toBe(
      "invalid_argument",
    );
    expect((await thrown(() => orchestrator.listExecs({ filter: { state: 77 as ExecState } }))).kind).toBe(
      "invalid_argument",
    ); // as: a number that it does not have
    await orchestrator.signalExec({ execId: runs, signal: "KILL" });
    await finished(runs);
    expect(await thrown(() => orchestrator.signalExec({ execId: runs, signal: "KILL" }))).toMatchObject({
      kind: "failed_precondition",
      details: { reason: "EXEC_ENDED" },
    });
  });
});

describe("the end of the server", () => {
  test("SIGTERM cancels a detached command, tells so to who is attached, and lists it after the next start", async () => {
    await using own = await containerServer();
    const id = await own.create();
    const execId = await detached({ command: ENDLESS, containerId: id }, own);
    const alone = await detached({ command: ENDLESS, containerId: id }, own);
    let stopped: Promise<number> | undefined;
    const { ends } = await attach(
      own.client,
      { execId },
      {
        input: async function* (heard) {
          await heard("on");
          stopped = own.server.stop();
          yield* open();
        },
      },
    );
    expect(ends).toMatchObject([{ how: { case: "cancelled" } }]);
    expect(await stopped).toBe(0);
    await using again = await containerServer({ dataDir: own.server.dataDir });
    for (const one of [execId, alone]) {
      const { exec: left } = await again.client.orchestrator.getExec({ execId: one });
      expect(left).toMatchObject({
        state: ExecState.ENDED,
        end: { how: { case: "cancelled" } },
        outputBytes: 3n,
      });
      const late = await attach(again.client, { execId: one });
      expect([late.order, late.ends.length]).toEqual([["started", "end"], 1]);
    }
    await again.client.orchestrator.closeSession({ sessionId: own.sessionId }, { timeoutMs: 30_000 });
  }, 40_000);

  test("kill -9 leaves a detached command that the next server lists as unknown, with the reason", async () => {
    await using own = await containerServer();
    const id = await own.create();
    const execId = await detached({ command: ENDLESS, containerId: id }, own);
    await own.server.kill();
    await using again = await containerServer({ dataDir: own.server.dataDir });
    await finished(execId, again);
    const { ends } = await attach(again.client, { execId });
    expect(ends).toMatchObject([
      { how: { case: "unknown", value: { reason: "the server stopped while it ran" } } },
    ]);
    await again.client.orchestrator.closeSession({ sessionId: own.sessionId }, { timeoutMs: 30_000 });
  }, 40_000);
});

/** Starts a command that goes on, leaves it once it has begun, and gives its id. */
async function detached(
  start: ExecStartInit & { readonly containerId?: string },
  server: ContainerServer = shared,
): Promise<string> {
  const wanted = { containerId, detachOnDisconnect: true, ...start };
  const stop = new AbortController();
  const answers = server.client.orchestrator.execContainer(frames(wanted, open()), { signal: stop.signal });
  try {
    for await (const { payload } of answers) if (payload.case === "started") return payload.value.execId;
  } finally {
    stop.abort();
  }
  throw new Error("it did not start");
}

async function shown(execId: string) {
  const { exec: found } = await shared.client.orchestrator.getExec({ execId });
  if (found === undefined) throw new Error("there is one");
  return found;
}

function stdin(text: string): AttachFrame {
  return { payload: { case: "stdin", value: Buffer.from(text) } };
}

function sequence(last: number): string {
  return Array.from({ length: last }, (_, n) => `${n + 1}\n`).join("");
}

async function* frames(
  start: ExecStartInit & { readonly containerId: string },
  rest: AsyncIterable<ExecFrame> = sent([]),
): AsyncGenerator<ExecFrame> {
  yield { payload: { case: "start", value: start } };
  yield* rest;
}

async function* sent<Frame>(requests: readonly Frame[]): AsyncGenerator<Frame> {
  yield* requests;
}

/** Keeps the caller's side of a stream open. */
async function* open(): AsyncGenerator<never> {
  yield* [];
  await new Promise(() => {});
}

async function finished(execId: string, server: ContainerServer = shared) {
  return await eventOf(server.client, EventType.EXEC_FINISHED, ({ data }) => data.exec_id === execId);
}
