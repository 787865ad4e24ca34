import { expect, test } from "bun:test";
import { Metadata, status } from "@grpc/grpc-js";
import { connect } from "../../src/client/client.ts";
import { serveRaw } from "./grpc-server.ts";
import { cutConnection } from "./http2-session.ts";
import { statusDetails } from "./status-details.ts";
import { thrown } from "./thrown.ts";

test("a unary call brings the request there and the answer back", async () => {
  await using server = await serveRaw({
    getSession: (call, answer) => answer(null, { session: { id: call.request.sessionId } }),
  });
  await using client = connect({ address: server.path });
  const { session } = await client.orchestrator.getSession({ sessionId: "s1" });
  expect(session?.id).toBe("s1");
});

test("a unary call sends the client's metadata, token and correlation id, and its own over them", async () => {
  const seen: Record<string, unknown>[] = [];
  await using server = await serveRaw({
    getSession: (call, answer) => {
      seen.push(call.metadata.getMap());
      answer(null, {});
    },
  });
  await using client = connect({
    address: server.path,
    token: "t",
    correlationId: "c1",
    metadata: { a: "1", b: "1" },
  });
  await client.orchestrator.getSession({});
  await client.orchestrator.getSession({}, { metadata: { b: "2" }, correlationId: "c2" });
  expect(seen[0]).toMatchObject({ authorization: "Bearer t", "x-correlation-id": "c1", a: "1", b: "1" });
  expect(seen[1]).toMatchObject({ authorization: "Bearer t", "x-correlation-id": "c2", a: "1", b: "2" });
});

test("a unary call tells of headers and trailers", async () => {
  await using server = await serveRaw({
    getSession: (call, answer) => {
      call.sendMetadata(metadataOf({ h: "1" }));
      answer(null, {}, metadataOf({ t: "2" }));
    },
  });
  await using client = connect({ address: server.path });
  const told: string[] = [];
  await client.orchestrator.getSession(
    {},
    {
      onHeaders: (headers) => told.push(`h=${headers.get("h")}`),
      onTrailers: (trailers) => told.push(`t=${trailers.get("t")}`),
    },
  );
  expect(told).toEqual(["h=1", "t=2"]);
});

test("a unary call throws the server's status with its details as a Failure", async () => {
  await using server = await serveRaw({
    createSession: (_, answer) =>
      answer({
        code: status.INVALID_ARGUMENT,
        details: "Cannot create session: metadata.name is too long — 300 bytes",
        metadata: statusDetails(status.INVALID_ARGUMENT, {
          violations: [{ field: "metadata.name", description: "is too long" }],
          reason: "TOO_LONG",
          metadata: { limit: "256" },
          retryAfterMs: 1500,
        }),
      }),
  });
  await using client = connect({ address: server.path });
  const failure = await thrown(() => client.orchestrator.createSession({}));
  expect(failure.kind).toBe("invalid_argument");
  expect(failure.message).toBe("Cannot create session: metadata.name is too long — 300 bytes");
  expect(failure.details).toEqual({
    violations: [{ field: "metadata.name", description: "is too long" }],
    reason: "TOO_LONG",
    metadata: { limit: "256" },
    retryAfterMs: 1500,
  });
});

test("a unary call throws a status whose details can't be read without them", async () => {
  const metadata = new Metadata();
  metadata.set("grpc-status-details-bin", Buffer.from([0xff, 0xff]));
  await using server = await serveRaw({
    getSession: (_, answer) => answer({ code: status.NOT_FOUND, details: "none", metadata }),
  });
  await using client = connect({ address: server.path });
  const failure = await thrown(() => client.orchestrator.getSession({}));
  expect([failure.kind, failure.message]).toEqual(["not_found", "none"]);
});

test("a unary call ends at its deadline, also at the server", async () => {
  const server = await silent();
  await using _ = server;
  await using client = connect({ address: server.path, callTimeoutMs: 50 });
  const failure = await thrown(() => client.orchestrator.getSession({}));
  expect(failure.kind).toBe("deadline_exceeded");
  expect(failure.message).toBe("Cannot finish GetSession: not done within 0.05 s"); // as it was asked
  await server.cancelled;
});

test("a unary call's own timeoutMs goes over the client's, and WaitContainer has none by itself", async () => {
  const deadlines: unknown[] = [];
  await using server = await serveRaw({
    getSession: (call, answer) => {
      deadlines.push(call.getDeadline());
      answer(null, {});
    },
    waitContainer: (call, answer) => {
      deadlines.push(call.getDeadline());
      answer(null, {});
    },
  });
  await using client = connect({ address: server.path });
  await client.orchestrator.getSession({}, { timeoutMs: 0 });
  await client.orchestrator.waitContainer({});
  await client.orchestrator.getSession({}, { timeoutMs: Number.MAX_SAFE_INTEGER }); // would overflow a timer
  await client.orchestrator.getSession({});
  expect(deadlines.slice(0, 2)).toEqual([Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]);
  expect(Number(deadlines[2])).toBeGreaterThan(Date.now() + 19 * 86_400_000);
  expect(Number(deadlines[3])).toBeLessThan(Date.now() + 10_001);
});

test("a unary call is cancelled at the server by its signal, and throws the signal's reason", async () => {
  const server = await silent();
  await using _ = server;
  await using client = connect({ address: server.path });
  const controller = new AbortController();
  const failure = thrown(() => client.orchestrator.getSession({}, { signal: controller.signal }));
  await server.called;
  controller.abort(new Error("enough"));
  expect((await failure).kind).toBe("cancelled");
  expect((await failure).details.cause).toEqual(new Error("enough"));
  await server.cancelled;
});

test("a unary call with an aborted signal is not sent", async () => {
  let calls = 0;
  await using server = await serveRaw({
    getSession: (_, answer) => {
      calls += 1;
      answer(null, {});
    },
  });
  await using client = connect({ address: server.path });
  await client.ready();
  expect((await thrown(() => client.orchestrator.getSession({}, { signal: AbortSignal.abort() }))).kind).toBe(
    "cancelled",
  );
  await client.orchestrator.getSession({});
  expect(calls).toBe(1);
});

test("closing the client cancels what is under way and refuses what comes after", async () => {
  const server = await silent();
  await using _ = server;
  const client = connect({ address: server.path });
  const failure = thrown(() => client.orchestrator.getSession({}));
  await server.called;
  await client[Symbol.asyncDispose]();
  expect((await failure).details.reason).toBe("CLIENT_CLOSED");
  await server.cancelled;
  expect((await thrown(() => client.orchestrator.getSession({}))).details.reason).toBe("CLIENT_CLOSED");
});

test("a unary call is repeated when the server stops under it and repeating is safe", async () => {
  await using server = await failing(3, { reason: "SHUTTING_DOWN" });
  await using client = connect({ address: server.path, reconnectIntervalMs: 10 });
  await client.orchestrator.getSession({});
  expect(server.calls()).toBe(4);
  server.failAgain(1);
  await client.orchestrator.createSession({ idempotencyKey: "k" });
  expect(server.calls()).toBe(6);
});

test("a unary call is not repeated when doing it twice is not doing it once", async () => {
  await using server = await failing(1, { reason: "SHUTTING_DOWN" });
  await using client = connect({ address: server.path, reconnectIntervalMs: 10 });
  expect((await thrown(() => client.orchestrator.createSession({}))).kind).toBe("unavailable");
  expect(server.calls()).toBe(1);
});

test("a unary call is repeated reconnectMaxAttempts times at most", async () => {
  await using server = await failing(9, { reason: "SHUTTING_DOWN" });
  await using client = connect({ address: server.path, reconnectIntervalMs: 10, reconnectMaxAttempts: 2 });
  expect((await thrown(() => client.orchestrator.getSession({}))).kind).toBe("unavailable");
  expect(server.calls()).toBe(3);
});

test("a unary call is not repeated when the server's RetryInfo lies behind its deadline", async () => {
  await using server = await failing(1, { reason: "STARTING", retryAfterMs: 60_000 });
  await using client = connect({ address: server.path });
  const failure = await thrown(() => client.orchestrator.getSession({}));
  expect(failure.details.retryAfterMs).toBe(60_000);
  expect(server.calls()).toBe(1);
});

test("a unary call survives a connection that is cut under it when repeating is safe, and says so when not", async () => {
  let calls = 0;
  await using server = await serveRaw({
    getSession: (call, answer) => {
      calls += 1;
      if (calls === 1) cutConnection(call);
      else answer(null, {});
    },
    createSession: (call) => cutConnection(call),
  });
  await using client = connect({ address: server.path, reconnectIntervalMs: 10 });
  await client.orchestrator.getSession({});
  expect(calls).toBe(2);
  const failure = await thrown(() => client.orchestrator.createSession({}));
  expect(failure.kind).toBe("unavailable");
  expect(failure.details.reason).toBe("CONNECTION_LOST");
  expect(failure.message).toBe(
    `Cannot finish CreateSession: the connection to unix://${server.path} was lost before the answer came`,
  );
});

test("a unary call that is larger than a message may be is refused before it is sent", async () => {
  await using server = await serveRaw({});
  await using client = connect({ address: server.path });
  const failure = await thrown(() =>
    client.orchestrator.sendMessage({ message: { content: "x".repeat(101 * 1024 * 1024) } }),
  );
  expect(failure.kind).toBe("resource_exhausted");
  expect(failure.message).toMatch(
    /^Cannot send SendMessage: the request has 10590\d{4} bytes, and a message may have 104857600$/,
  );
});

test("an answer that is larger than a message may be says so", async () => {
  await using server = await serveRaw({
    getSession: (_, answer) => answer(null, { session: { closeReason: "x".repeat(101 * 1024 * 1024) } }),
  });
  await using client = connect({ address: server.path });
  const failure = await thrown(() => client.orchestrator.getSession({}, { timeoutMs: 0 }));
  expect(failure.kind).toBe("resource_exhausted");
  expect(failure.message).toBe(
    "Cannot read the answer to GetSession: it is larger than the 104857600 bytes that a message may have",
  );
});

test("a request that can't be encoded is INVALID_ARGUMENT", async () => {
  await using client = connect({ address: "/tmp/never-dialled.sock" });
  const failure = await thrown(() => client.orchestrator.listSessions({ pageSize: 2 ** 40 }));
  expect(failure.kind).toBe("invalid_argument");
});

/** A server that never answers, and tells when it is called and when that call is cancelled. */
async function silent() {
  const called = Promise.withResolvers<void>();
  const cancelled = Promise.withResolvers<void>();
  const server = await serveRaw({
    getSession: (call) => {
      call.on("cancelled", () => cancelled.resolve());
      called.resolve();
    },
  });
  return { ...server, called: called.promise, cancelled: cancelled.promise };
}

/** A server that answers UNAVAILABLE with these details `times` times, then well. */
async function failing(times: number, given: { readonly reason: string; readonly retryAfterMs?: number }) {
  let calls = 0;
  let left = times;
  const metadata = statusDetails(status.UNAVAILABLE, given);
  const respond = (_: unknown, answer: (error: object | null, value?: object) => void) => {
    calls += 1;
    left -= 1;
    if (left >= 0) answer({ code: status.UNAVAILABLE, details: "not now", metadata });
    else answer(null, {});
  };
  const server = await serveRaw({ getSession: respond, createSession: respond });
  return {
    ...server,
    calls: () => calls,
    failAgain: (more: number) => {
      left = more;
    },
  };
}

function metadataOf(entries: Record<string, string>): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(entries)) metadata.set(name, value);
  return metadata;
}
