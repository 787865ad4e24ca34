import { expect, test } from "bun:test";
import { rm } from "node:fs/promises";
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Metadata } from "@grpc/grpc-js";
import { connect } from "../../src/client/client.ts";
import { watch } from "../../src/client/watch.ts";
import {
  EventType,
  type SubscribeEventsRequest,
  SubscribeEventsRequestSchema,
} from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { freshFolder, serveRaw } from "./grpc-server.ts";
import { delivered } from "./http2-session.ts";
import { statusDetails } from "./status-details.ts";
import { thrown } from "./thrown.ts";

test("watch() loses and repeats nothing while its server is killed and started again", async () => {
  await using folder = await freshFolder();
  const path = `${folder.path}/s.sock`;
  const epoch = String(Date.now());
  const serve = async () => {
    await rm(path, { force: true });
    const server = Bun.spawn([process.execPath, `${import.meta.dir}/log-server.ts`, path, epoch], {
      stdout: "pipe",
      stderr: "inherit",
    });
    for await (const _ of server.stdout) break;
    return server;
  };
  let server = await serve();
  await using client = connect({ address: path, reconnectIntervalMs: 50 });
  let kills = 0;
  let interruptions = 0;
  const got: number[] = [];
  try {
    for await (const event of watch(client, { onInterrupted: () => (interruptions += 1) })) {
      got.push(Number(event.id));
      if (kills < 3 && interruptions === kills && got.length >= (kills + 1) * 100) {
        kills += 1;
        server.kill("SIGKILL");
        await server.exited;
        server = await serve();
      } else if (interruptions === 3 && got.length >= 1000) break;
    }
  } finally {
    server.kill("SIGKILL");
    await server.exited;
  }
  const first = got[0] ?? 0;
  expect(got).toEqual(Array.from(got, (_, n) => first + n));
}, 30_000);

test("watch() resumes behind the last event that it has given", async () => {
  await using log = await scripted([
    { header: "c0", events: ["c1", "c2"], cut: { code: 14, reason: "SHUTTING_DOWN" } },
    { events: ["c3"], cut: { code: 8, reason: "SLOW_READER", metadata: { cursor: "c9" } } },
    { events: ["c4"] },
  ]);
  await using client = connect({ address: log.path, reconnectIntervalMs: 1 });
  expect(await cursors(client, {})).toEqual(["c1", "c2", "c3", "c4"]);
  expect(log.requests.map(({ resumeAfter }) => resumeAfter)).toEqual(["", "c2", "c3"]);
});

test("watch() that was cut before its first event resumes where it began", async () => {
  await using log = await scripted([{ header: "c7", events: [], cut: { code: 14 } }, { events: ["c8"] }]);
  await using client = connect({ address: log.path, reconnectIntervalMs: 1 });
  expect(await cursors(client, {})).toEqual(["c8"]);
  expect(log.requests.map(({ resumeAfter }) => resumeAfter)).toEqual(["", "c7"]);
});

test("watch() from a time keeps to it until the first event, and then resumes by cursor", async () => {
  await using log = await scripted([
    { header: "c7", events: [], bookmark: "c8", cut: { code: 14 } },
    { header: "c7", events: ["c9"], cut: { code: 14 } },
    { events: ["c10"] },
  ]);
  await using client = connect({ address: log.path, reconnectIntervalMs: 1 });
  const startTime = timestampFromMs(1000);
  expect(await cursors(client, { filter: { startTime, sessionId: "s" } })).toEqual(["c9", "c10"]);
  expect(log.requests.map(({ resumeAfter }) => resumeAfter)).toEqual(["", "", "c9"]);
  expect(log.requests.map(({ filter }) => filter?.startTime?.seconds)).toEqual([1n, 1n, undefined]);
  expect(log.requests.map(({ filter }) => filter?.sessionId)).toEqual(["s", "s", "s"]);
});

test("watch() resumes behind bookmarks, and gives them only when they were asked for", async () => {
  const script = () => [{ events: ["c1"], bookmark: "c5", cut: { code: 14 } }, { events: ["c6"] }];
  await using quiet = await scripted(script());
  await using client = connect({ address: quiet.path, reconnectIntervalMs: 1 });
  expect(await cursors(client, {})).toEqual(["c1", "c6"]);
  expect(quiet.requests[1]?.resumeAfter).toBe("c5");
  await using loud = await scripted(script());
  await using other = connect({ address: loud.path, reconnectIntervalMs: 1 });
  expect(await cursors(other, { bookmarkIntervalMs: 200 })).toEqual(["c1", "c5", "c6"]);
  expect(loud.requests[0]?.bookmarkIntervalNs).toBe(200_000_000n);
});

test("watch() throws a gap in the log instead of leaping over it", async () => {
  await using log = await scripted([
    { events: ["c1"], cut: { code: 14 } },
    { events: [], cut: { code: 11, reason: "CURSOR_TOO_OLD", metadata: { oldest_cursor: "c5" } } },
  ]);
  await using client = connect({ address: log.path, reconnectIntervalMs: 1 });
  const failure = await thrown(() => cursors(client, {}));
  expect([failure.kind, failure.details.reason]).toEqual(["out_of_range", "CURSOR_TOO_OLD"]);
});

test("watch() gives up after reconnectMaxAttempts interruptions in a row, and an event ends the row", async () => {
  const cut = { events: [], cut: { code: 14 } };
  await using log = await scripted([
    cut,
    cut,
    { events: ["c1"], cut: { code: 14 } },
    cut,
    cut,
    { events: ["never"] },
  ]);
  await using client = connect({ address: log.path, reconnectIntervalMs: 1, reconnectMaxAttempts: 2 });
  const given: string[] = [];
  const failure = await thrown(async () => {
    for await (const event of watch(client)) given.push(event.cursor);
  });
  expect(failure.kind).toBe("unavailable");
  expect(given).toEqual(["c1"]);
  expect(log.requests).toHaveLength(5);
});

test("watch() reports a server that was never there at once", async () => {
  await using client = connect({ address: "/tmp/nobody-serves-here.sock" });
  const failure = await thrown(() => cursors(client, {}));
  expect(failure.details.reason).toBe("UNREACHABLE");
});

test("watch() ends with its signal, also between two attempts", async () => {
  await using log = await scripted([{ events: ["c1"], cut: { code: 14, retryAfterMs: 3_600_000 } }]);
  await using client = connect({ address: log.path });
  const controller = new AbortController();
  const onInterrupted = (_: unknown, resumeInMs: number) => {
    expect(resumeInMs).toBe(3_600_000);
    controller.abort();
  };
  const failure = await thrown(() => cursors(client, { signal: controller.signal, onInterrupted }));
  expect(failure.kind).toBe("cancelled");
});

async function cursors(...args: Parameters<typeof watch>): Promise<string[]> {
  const events = await Array.fromAsync(watch(...args));
  return events.map(({ cursor }) => cursor);
}

interface Subscription {
  readonly header?: string;
  readonly events: readonly string[];
  readonly bookmark?: string;
  /** How it ends; well without it. */
  readonly cut?: { readonly code: number } & Parameters<typeof statusDetails>[1];
}

/** A server that answers each subscription as the next part of `script` says, and keeps what was asked. */
async function scripted(script: readonly Subscription[]) {
  const requests: SubscribeEventsRequest[] = [];
  const server = await serveRaw({
    subscribeEvents: (call) => {
      requests.push(create(SubscribeEventsRequestSchema, call.request));
      const { header, events, bookmark, cut } = script[requests.length - 1] ?? { events: [] };
      const headers = new Metadata();
      if (header !== undefined) headers.set("x-baaaht-cursor", header);
      call.sendMetadata(headers);
      for (const cursor of events) call.write({ id: cursor, cursor });
      if (bookmark !== undefined) call.write({ type: EventType.BOOKMARK, cursor: bookmark });
      if (cut === undefined) call.end();
      // grpc-js drops what a client has not taken when the status is an error.
      else
        delivered(call).then(() =>
          call.emit("error", { ...cut, details: "cut", metadata: statusDetails(cut.code, cut) }),
        );
    },
  });
  return { ...server, requests };
}
