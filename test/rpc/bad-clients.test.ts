import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { once } from "node:events";
import http2 from "node:http2";
import { connect } from "node:net";
import type { DescMethod } from "@bufbuild/protobuf";
import { fromBinary } from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import { watch } from "../../src/client/watch.ts";
import {
  EventSchema,
  EventType,
  OrchestratorService,
} from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { startServer, type TestServer } from "../server.ts";
import { type Canary, type Holdings, holdings, holdsAgain, startCanary } from "./canary.ts";
import { refusalIn, refusalOf, statusOf } from "./refusal.ts";
import { asItIs, encode, openServerStream, pathOf } from "./test-server.ts";

const { method } = OrchestratorService;

/** How long a stream may stay unread at this server. */
const STALLED_MS = 1_500;

/** About what 2,000 streams or a hundred thousand calls leave with the allocator. */
const SPARE_BYTES = 60 * 1024 * 1024;

let server: TestServer;
let canary: Canary;
let before: Holdings;

beforeAll(async () => {
  server = await startServer({ env: { BAAAHT_GRPC_STALLED_STREAM_TIMEOUT: `${STALLED_MS}ms` } });
  canary = await startCanary(server);
  using warm = newClient();
  await Promise.all(Array.from({ length: 500 }, () => refusalOf(warm.client, method.getSession, {})));
  await holdsAgain(server.pid, { ...holdings(server.pid), descriptors: 40 }, { spareBytes: SPARE_BYTES });
  before = holdings(server.pid);
});

afterEach(async () => {
  await holdsAgain(server.pid, before, { spareBytes: SPARE_BYTES });
}, 30_000);

afterAll(async () => {
  await canary?.unharmed();
  expect(server.logs()).not.toContain("defect");
  await server?.[Symbol.asyncDispose]();
});

/** A client with a connection of its own. */
function newClient(): Disposable & { readonly client: grpc.Client } {
  const client = new grpc.Client(`unix:${server.socketPath}`, grpc.credentials.createInsecure(), {
    "grpc.use_local_subchannel_pool": 1,
  });
  return { client, [Symbol.dispose]: () => client.close() };
}

describe("clients that vanish", () => {
  const headers = (called: DescMethod) => ({
    ":method": "POST",
    ":path": pathOf(called),
    "content-type": "application/grpc",
    te: "trailers",
  });
  const framed = (bytes: Buffer) => Buffer.concat([Buffer.from([0, 0, 0, 0, bytes.byteLength]), bytes]);
  const session = () => {
    const made = http2.connect("http://localhost", { createConnection: () => connect(server.socketPath) });
    made.on("error", () => {});
    return made;
  };
  const request = (over: http2.ClientHttp2Session, called: DescMethod) => {
    const made = over.request(headers(called));
    made.on("error", () => {});
    return made;
  };
  const phases: Readonly<Record<string, () => Promise<{ destroy(): void }>>> = {
    "before the first byte": async () => {
      const socket = connect(server.socketPath);
      await once(socket, "connect");
      return socket;
    },
    "before the headers of a call": async () => {
      const over = session();
      await once(over, "remoteSettings");
      return over;
    },
    "after the headers": async () => {
      const over = session();
      request(over, method.createSession);
      await once(over, "remoteSettings");
      return over;
    },
    "in the middle of a message": async () => {
      const over = session();
      request(over, method.createSession).write(Buffer.from([0, 0, 0, 1, 0, 1, 2, 3]));
      await once(over, "remoteSettings");
      return over;
    },
    "before the answer": async () => {
      const over = session();
      request(over, method.createSession).end(framed(Buffer.alloc(0)));
      await once(over, "remoteSettings");
      return over;
    },
    "in the middle of a stream": async () => {
      const over = session();
      const stream = request(over, method.subscribeEvents);
      stream.end(framed(encode(method.subscribeEvents, { fromStart: true })));
      await once(stream, "response");
      return over;
    },
    "in the middle of a stream that it does not read": async () => {
      const over = session();
      const stream = request(over, method.subscribeEvents);
      stream.pause();
      stream.end(framed(encode(method.subscribeEvents, { fromStart: true })));
      await once(stream, "response");
      return over;
    },
    "before the first frame of a stream both ways": async () => {
      const over = session();
      request(over, method.execContainer).write(Buffer.from([0, 0]));
      await once(over, "remoteSettings");
      return over;
    },
  };

  test.each(Object.keys(phases))("%s leave nothing behind", async (phase) => {
    for (let round = 0; round < 25; round += 1) (await phases[phase]?.())?.destroy();
    using after = newClient();
    expect((await refusalOf(after.client, method.getSession, {})).code).toBe(grpc.status.INVALID_ARGUMENT);
  });
});

describe("very many", () => {
  test("6,000 cancels leave the other calls of their connection alone", async () => {
    using shared = newClient();
    const innocent = openServerStream(shared.client, method.subscribeEvents);
    let isOver = false;
    innocent.on("status", () => {
      isOver = true;
    });
    await once(innocent, "metadata");
    for (let round = 0; round < 60; round += 1) {
      const calls = Array.from({ length: 100 }, () =>
        openServerStream(shared.client, method.subscribeEvents),
      );
      await Promise.all(calls.map((call) => once(call, "metadata")));
      for (const call of calls) call.cancel();
    }
    const heard = once(innocent, "data");
    await server.client.orchestrator.createSession({});
    await heard;
    expect(isOver).toBe(false);
    innocent.cancel();
  }, 60_000);

  test("2,000 streams each hear of the same event", async () => {
    using shared = newClient();
    const filter = { types: [EventType.SESSION_CLOSED] };
    const { sessionId } = await server.client.orchestrator.createSession({});
    const calls = Array.from({ length: 2_000 }, () =>
      openServerStream(shared.client, method.subscribeEvents, { filter }),
    );
    await Promise.all(calls.map((call) => once(call, "metadata")));
    const heard = calls.map((call) => once(call, "data"));
    await server.client.orchestrator.closeSession({ sessionId });
    for (const [bytes] of await Promise.all(heard)) {
      expect(fromBinary(EventSchema, bytes).metadata?.sessionId).toBe(sessionId);
    }
    for (const call of calls) call.cancel();
  }, 60_000);

  test("200 connections that say nothing are carried", async () => {
    const sockets = Array.from({ length: 200 }, () => connect(server.socketPath));
    await Promise.all(sockets.map((socket) => once(socket, "connect")));
    using other = newClient();
    expect((await refusalOf(other.client, method.getSession, {})).code).toBe(grpc.status.INVALID_ARGUMENT);
    for (const socket of sockets) socket.destroy();
  });
});

describe("a deadline", () => {
  test.each([0, 1])("of %d ms after 1970 is DEADLINE_EXCEEDED and does nothing", async (deadline) => {
    using own = newClient();
    const name = `never-${deadline}`;
    const refusal = await refusalOf(own.client, method.createSession, { metadata: { name } }, { deadline });
    expect(refusal.code).toBe(grpc.status.DEADLINE_EXCEEDED);
    const { sessions } = await server.client.orchestrator.listSessions({});
    expect(sessions.filter(({ metadata }) => metadata?.name === name)).toEqual([]);
  });

  test("that has passed when the call arrives is answered, not hung", async () => {
    const over = http2.connect("http://localhost", { createConnection: () => connect(server.socketPath) });
    const request = over.request({
      ":method": "POST",
      ":path": pathOf(method.subscribeEvents),
      "content-type": "application/grpc",
      "grpc-timeout": "0m",
      te: "trailers",
    });
    request.on("error", () => {});
    request.end(Buffer.alloc(5));
    await once(request.resume(), "close");
    over.destroy();
  });
});

describe("a stream that is not read", () => {
  /** Events carry the labels of their session: 60 KB each. */
  const labels = Object.fromEntries(Array.from({ length: 60 }, (_, at) => [`l${at}`, "x".repeat(1_000)]));
  const makeEvent = () => server.client.orchestrator.createSession({ metadata: { labels } });

  test("holds up no other on its connection, and is ended with a cursor from which nothing is missed", async () => {
    using shared = newClient();
    const start = (await server.client.orchestrator.listSessions({ pageSize: 1 })).cursor;
    const stalled = openServerStream(shared.client, method.subscribeEvents, { resumeAfter: start });
    const made: string[] = [];
    const received: string[] = [];
    const take = (bytes: Buffer) => received.push(fromBinary(EventSchema, bytes).metadata?.sessionId ?? "");
    // It reads one and then no more: what was never read at all, grpc-js would buffer for it.
    stalled.on("data", take);
    const first = once(stalled, "data");
    made.push((await makeEvent()).sessionId);
    await first;
    stalled.pause();
    const reader = openServerStream(shared.client, method.subscribeEvents);
    await once(reader, "metadata");
    const got: string[] = [];
    reader.on("data", (bytes: Buffer) => got.push(fromBinary(EventSchema, bytes).metadata?.sessionId ?? ""));
    for (let count = 0; count < 40; count += 1) {
      const next = once(reader, "data");
      made.push((await makeEvent()).sessionId);
      await next;
    }
    expect(got).toEqual(made.slice(1));
    reader.cancel();

    // The time-out itself is what is tested. At twice its length the rest would be thrown away, the status too.
    await Bun.sleep(STALLED_MS * 1.3);
    const end = statusOf(stalled);
    const { code, reason, metadata } = refusalIn(await end);
    expect({ code, reason }).toEqual({ code: grpc.status.RESOURCE_EXHAUSTED, reason: "STREAM_NOT_READ" });
    const rest = openServerStream(shared.client, method.subscribeEvents, { resumeAfter: metadata.cursor });
    rest.on("data", take);
    while (received.length < made.length) await once(rest, "data");
    expect(received).toEqual(made);
    rest.cancel();
  }, 60_000);

  test("for ever is thrown away, and a watch goes on where its reader stopped", async () => {
    const { cursor } = await server.client.orchestrator.listSessions({ pageSize: 1 });
    const interruptions: (string | undefined)[] = [];
    const made: string[] = [];
    const received: string[] = [];
    const events = watch(server.connect(), {
      resumeAfter: cursor,
      onInterrupted: ({ details }) => interruptions.push(details.reason),
    });
    for (let count = 0; count < 40; count += 1) made.push((await makeEvent()).sessionId);
    for await (const event of events) {
      if (received.length === 0) await Bun.sleep(STALLED_MS * 3); // a reader that takes its time
      received.push(event.metadata?.sessionId ?? "");
      if (received.length === made.length) break;
    }
    expect(received).toEqual(made);
    expect(interruptions).toEqual(["STREAM_NOT_READ"]);
  }, 60_000);

  test("costs the server no memory while events go on", async () => {
    using own = newClient();
    const unread = Array.from({ length: 20 }, () =>
      own.client.makeServerStreamRequest(
        pathOf(method.subscribeEvents),
        asItIs,
        asItIs,
        encode(method.subscribeEvents, { fromStart: true }),
      ),
    );
    for (const call of unread) call.on("error", () => {});
    await Promise.all(unread.map((call) => once(call, "metadata")));
    for (let count = 0; count < 100; count += 1) await makeEvent();
    await holdsAgain(
      server.pid,
      { ...before, descriptors: before.descriptors + 1 },
      { spareBytes: SPARE_BYTES },
    );
    for (const call of unread) call.cancel();
  }, 60_000);
});
