import { expect, test } from "bun:test";
import { chmodSync, cpSync, mkdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Failure } from "../../src/failure.ts";
import { HealthCheckResponse_ServingStatus } from "../../src/gen/grpc/health/v1/health_pb.ts";
import { Health } from "../../src/gen/proto/common/v1/common_pb.ts";
import { type Event, EventType, MessageRole } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { refusedStart, startServer, type TestServer } from "../server.ts";
import { tempFolder } from "../temp-folder.ts";
import { smallDisk } from "./small-disk.ts";

test("a full disk refuses writes with RESOURCE_EXHAUSTED, reads and subscriptions go on, and space heals it", async () => {
  await using disk = await smallDisk({ megabytes: 8 });
  const dataDir = join(disk.path, "data");
  await using server = await startServer({ dataDir });
  const { orchestrator } = server.client;
  const { sessionId } = await orchestrator.createSession({ metadata: { name: "before" } });
  await using events = await follow(server);
  const sent = await sendUntilRefused(server, sessionId, () => disk.fill());
  expect(sent.failure.kind).toBe("resource_exhausted");
  expect(sent.failure.message).toBe("Cannot save the change: the disk that holds the data folder is full");
  expect(sent.failure.details).toMatchObject({ reason: "STORAGE_FULL", retryAfterMs: 5_000 });
  const refused = await failure(orchestrator.createSession({}));
  expect(refused.kind).toBe("resource_exhausted");
  expect(await health(server)).toEqual({
    store: "store: Cannot save the change: the disk that holds the data folder is full",
    health: Health.DEGRADED,
    probes: HealthCheckResponse_ServingStatus.SERVING,
  });

  expect(await messageIds(server, sessionId)).toEqual(sent.ids);
  expect((await orchestrator.listSessions({})).totalCount).toBe(1);
  await using another = await follow(server, { fromStart: true });
  expect((await another.take(EventType.MESSAGE_CREATED, sent.ids.length)).map(messageIdOf)).toEqual(sent.ids);

  disk.free();
  const after = await orchestrator.sendMessage(message(sessionId, "there is space again"));
  expect(await health(server)).toMatchObject({ store: "store" });
  expect(await messageIds(server, sessionId)).toEqual([...sent.ids, after.messageId]);
  const told = await events.take(EventType.MESSAGE_CREATED, sent.ids.length + 1);
  expect(told.map(messageIdOf)).toEqual([...sent.ids, after.messageId]);

  await server.kill();
  await using again = await startServer({ dataDir });
  expect(await messageIds(again, sessionId)).toEqual([...sent.ids, after.messageId]);
}, 60_000);

test("kill -9 on a full disk loses nothing acknowledged, and the next start serves what is there", async () => {
  await using disk = await smallDisk({ megabytes: 8 });
  const dataDir = join(disk.path, "data");
  await using server = await startServer({ dataDir });
  const { sessionId } = await server.client.orchestrator.createSession({});
  const sent = await sendUntilRefused(server, sessionId, () => disk.fill());
  await server.kill();
  await using again = await startServer({ dataDir });
  expect(await messageIds(again, sessionId)).toEqual(sent.ids);
  expect((await failure(again.client.orchestrator.createSession({}))).kind).toBe("resource_exhausted");
  disk.free();
  await again.client.orchestrator.createSession({});
  expect(await again.stop()).toBe(0);
}, 60_000);

test("sessions go on ending in time after the disk was full", async () => {
  await using disk = await smallDisk({ megabytes: 8 });
  await using server = await startServer({ dataDir: join(disk.path, "data") });
  const { orchestrator } = server.client;
  const { sessionId } = await orchestrator.createSession({ config: { maxDurationNs: 1_000_000_000n } });
  await using events = await follow(server);
  disk.fill();
  await server.logged("cannot end sessions in time");
  disk.free();
  const [closed] = await events.take(EventType.SESSION_CLOSED, 1);
  expect(closed?.metadata?.sessionId).toBe(sessionId);
}, 60_000);

test("serve on a full disk says so and ends with the code of RESOURCE_EXHAUSTED", async () => {
  await using disk = await smallDisk({ megabytes: 2 });
  mkdirSync(join(disk.path, "data"));
  disk.fill();
  const { exitCode, stderr } = await refusedStart({ dataDir: join(disk.path, "data") });
  expect(stderr).toContain("the disk that holds the data folder is full");
  expect(stderr).not.toContain("    at "); // a stack is for defects
  expect(exitCode).toBe(18);
}, 60_000);

test("serve on a disk that can't be written says so and ends with the code of what it could not do", async () => {
  await using disk = await smallDisk({ megabytes: 8 });
  const dataDir = join(disk.path, "data");
  await using server = await startServer({ dataDir });
  await server.client.orchestrator.createSession({});
  await server.stop();
  disk.setReadOnly(true);
  for (const [folder, code] of [
    [dataDir, 17],
    [join(disk.path, "new"), 24],
  ] as const) {
    const { exitCode, stderr } = await refusedStart({ dataDir: folder });
    expect(stderr).toMatch(/^error: Cannot (lock|make) data folder ".*": .*read-only/i);
    expect([folder, exitCode]).toEqual([folder, code]);
  }
  disk.setReadOnly(false);
  await using again = await startServer({ dataDir });
  expect((await again.client.orchestrator.listSessions({})).totalCount).toBe(1);
}, 60_000);

test("a data folder that is removed refuses writes, and one that is put back takes them again", async () => {
  await using folder = await tempFolder();
  const dataDir = folder.file("data");
  await using server = await startServer({ dataDir });
  const { orchestrator } = server.client;
  const { sessionId } = await orchestrator.createSession({});
  renameSync(dataDir, folder.file("away"));
  const refused = await failure(orchestrator.sendMessage(message(sessionId, "lost?")));
  expect([refused.kind, refused.details.reason]).toEqual(["unavailable", "STORAGE_UNAVAILABLE"]);
  expect(refused.message).toContain("was removed");
  expect(await health(server)).toEqual({
    store: `store: ${refused.message}`,
    health: Health.DEGRADED,
    probes: HealthCheckResponse_ServingStatus.SERVING, // reads go on
  });
  expect((await orchestrator.getSession({ sessionId })).session?.id).toBe(sessionId);
  renameSync(folder.file("away"), dataDir);
  await orchestrator.sendMessage(message(sessionId, "kept"));
  expect(await health(server)).toMatchObject({ store: "store" });
  await server.kill();
  await using again = await startServer({ dataDir });
  expect(await messageIds(again, sessionId)).toHaveLength(1);
}, 60_000);

test("a disk that takes no more writes makes them UNAVAILABLE, reads go on, and it heals", async () => {
  await using folder = await tempFolder();
  const dataDir = folder.file("data");
  await using server = await startServer({ dataDir });
  const { orchestrator } = server.client;
  const { sessionId } = await orchestrator.createSession({});
  await orchestrator.sendMessage(message(sessionId, "before"));
  {
    using _frozen = frozen(join(dataDir, "baaaht.db-wal"));
    const refused = await failure(orchestrator.sendMessage(message(sessionId, "lost?")));
    expect([refused.kind, refused.details.reason]).toEqual(["unavailable", "STORAGE_UNAVAILABLE"]);
    expect(refused.message).toBe("Cannot save the change: the data folder can't be used (disk I/O error)");
    expect(await messageIds(server, sessionId)).toHaveLength(1);
  }
  await orchestrator.sendMessage(message(sessionId, "after"));
  const ids = await messageIds(server, sessionId);
  expect(ids).toHaveLength(2);
  await server.kill();
  await using again = await startServer({ dataDir });
  expect(await messageIds(again, sessionId)).toEqual(ids);
}, 60_000);

test("serve refuses a data folder that holds something else, naming it", async () => {
  await using folder = await tempFolder();
  writeFileSync(folder.file("file"), "");
  mkdirSync(folder.file("text"));
  writeFileSync(folder.file("text/baaaht.db"), "not a database\n".repeat(300));
  const cases = [
    [folder.file("file"), 19, `Cannot use data folder "${folder.file("file")}": it is not a folder`],
    [folder.file("file/below"), 24, "Cannot make data folder"],
    [folder.file("text"), 19, "the file is not a database"],
  ] as const;
  for (const [dataDir, code, words] of cases) {
    const { exitCode, stderr } = await refusedStart({ dataDir });
    expect([dataDir, exitCode]).toEqual([dataDir, code]);
    expect(stderr).toContain(words);
  }
}, 60_000);

test("a second server on a data folder is refused, naming the first, which goes on", async () => {
  await using server = await startServer();
  const { exitCode, stderr } = await refusedStart({ dataDir: server.dataDir });
  expect([exitCode, stderr]).toEqual([
    19,
    `error: Cannot lock data folder "${server.dataDir}": process ${server.pid} serves from it\n`,
  ]);
  await server.client.orchestrator.createSession({});
}, 60_000);

test("a data folder that was copied away is a log of its own epoch still", async () => {
  await using folder = await tempFolder();
  await using server = await startServer({ dataDir: folder.file("data") });
  await server.client.orchestrator.createSession({});
  const { cursor } = await server.client.orchestrator.listSessions({});
  await server.stop();
  cpSync(folder.file("data"), folder.file("copy"), { recursive: true });
  chmodSync(folder.file("copy"), 0o700);
  await using copy = await startServer({ dataDir: folder.file("copy") });
  await using events = await follow(copy, { resumeAfter: cursor });
  await copy.client.orchestrator.createSession({});
  expect(await events.take(EventType.SESSION_CREATED, 1)).toHaveLength(1);
}, 60_000);

/** What the two ways to ask say of the server and its store. */
async function health({ client }: TestServer) {
  const { health: word, subsystems } = await client.orchestrator.healthCheck({});
  const { status } = await client.health.check({ service: "" });
  return { store: subsystems.find((name) => name.startsWith("store")), health: word, probes: status };
}

/** Lets nobody write to a file, whoever has it open, until disposed. */
function frozen(path: string): Disposable {
  const change = (flag: string) => {
    const { exitCode, stderr } = Bun.spawnSync(["chattr", flag, path], { stderr: "pipe" });
    if (exitCode === 0) return;
    throw new Error(
      `Cannot change the flags of "${path}": ${stderr}; it takes root, and ext4, xfs, btrfs or a new tmpfs`,
    );
  };
  change("+i");
  return { [Symbol.dispose]: () => change("-i") };
}

/** A reader of the log that keeps what it was told until it is asked. */
interface Follower extends AsyncDisposable {
  /** The next `count` events of a type, the others passed over. */
  take(type: EventType, count: number): Promise<readonly Event[]>;
}

async function follow(
  server: TestServer,
  from: { readonly fromStart?: boolean; readonly resumeAfter?: string } = {},
): Promise<Follower> {
  const stream = server.connect().orchestrator.subscribeEvents(from);
  await stream.started();
  const events = stream[Symbol.asyncIterator]();
  return {
    take: async (type, count) => {
      const taken: Event[] = [];
      while (taken.length < count) {
        const { value, done } = await events.next();
        if (done) throw new Error("the subscription ended");
        if (value.type === type) taken.push(value);
      }
      return taken;
    },
    [Symbol.asyncDispose]: () => stream[Symbol.asyncDispose](),
  };
}

/** Sends messages, 16 at a time, fills the disk meanwhile, and stops when it is refused. Gives what was acknowledged. */
async function sendUntilRefused(server: TestServer, sessionId: string, fill: () => void) {
  const sent: string[] = [];
  const refused: Failure[] = [];
  const sender = async () => {
    while (refused.length === 0) {
      try {
        const { messageId } = await server.client.orchestrator.sendMessage(
          message(sessionId, "x".repeat(500)),
        );
        sent.push(messageId);
        if (sent.length === 200) fill();
      } catch (error) {
        if (!(error instanceof Failure)) throw error;
        refused.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: 16 }, sender));
  const [first] = refused;
  if (first === undefined) throw new Error("nothing was refused");
  const stored = await messageIds(server, sessionId);
  expect(new Set(stored)).toEqual(new Set(sent));
  return { ids: stored, failure: first };
}

async function messageIds(server: TestServer, sessionId: string): Promise<string[]> {
  const ids: string[] = [];
  let pageToken = "";
  do {
    const page = await server.client.orchestrator.listMessages({ sessionId, pageToken });
    ids.push(...page.messages.map(({ id }) => id));
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return ids;
}

function message(sessionId: string, content: string) {
  return { sessionId, message: { role: MessageRole.USER, content } };
}

function messageIdOf(event: Event): string {
  return event.data.message_id ?? "";
}

async function failure(call: Promise<unknown>): Promise<Failure> {
  const outcome = await call.then(
    () => "it did not fail",
    (error: unknown) => error,
  );
  if (outcome instanceof Failure) return outcome;
  throw new Error(`it ended otherwise: ${String(outcome)}`);
}
