import { describe, expect, test } from "bun:test";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { connect } from "node:net";
import * as grpc from "@grpc/grpc-js";
import { Failure } from "../../src/failure.ts";
import {
  asItIs,
  callUnary,
  encode,
  errorInfoIn,
  errorOf,
  openBidiStream,
  openServerStream,
  pathOf,
  SERVICE,
  type TestHandlers,
  type TestServer,
  testServer,
} from "./test-server.ts";

const { getSession, copyFromContainer, copyToContainer, streamMessages } = SERVICE.method;

const handlers: TestHandlers = {
  getSession: async ({ sessionId }) => ({ session: { id: sessionId } }),
  copyFromContainer: async function* (_, call) {
    call.open();
    await new Promise((resolve) => call.signal.addEventListener("abort", resolve));
    yield {};
  },
  copyToContainer: async (requests) => {
    for await (const _ of requests);
    return {};
  },
  streamMessages: async function* (requests) {
    for await (const _ of requests) yield {};
  },
};

/** A client that is not the hostile one gets its answer, and no handler has thrown a defect. */
async function expectUnharmed(server: TestServer): Promise<void> {
  const { answer } = await callUnary(server.connect(), getSession, { sessionId: "innocent" });
  expect(answer).toMatchObject({ session: { id: "innocent" } });
  expect(server.defects).toEqual([]);
}

/** Resolves when no call is open any more. */
async function allClosed(server: TestServer): Promise<void> {
  while (server.server.edge.open.size > 0) await new Promise(setImmediate);
}

describe("bytes that are not what they should be", () => {
  test.each([
    ["garbage", Buffer.from([0xff, 0xff, 0xff, 0xff])],
    ["invalid UTF-8 in a string", Buffer.from([0x0a, 0x02, 0xc3, 0x28])],
    ["a lone surrogate in a string", Buffer.from([0x0a, 0x03, 0xed, 0xa0, 0x80])],
    ["a cut-off string", Buffer.from([0x0a, 0x7f, 0x61])],
    ["an endless varint", Buffer.alloc(20, 0xff)],
    ["groups without an end", Buffer.alloc(1_000, 0x0b)],
  ])("decodeRequest() answers %s with INVALID_ARGUMENT that names the message", async (_, bytes) => {
    await using server = await testServer({ handlers });
    const error = await errorOf(callUnary(server.connect(), getSession, bytes));
    expect(error.code).toBe(grpc.status.INVALID_ARGUMENT);
    expect(error.details).toContain("proto.orchestrator.v1.GetSessionRequest");
    expect(errorInfoIn(error).reason).toBe("MALFORMED_MESSAGE");
    await expectUnharmed(server);
  });

  test("createServer() survives bytes that are not HTTP/2", async () => {
    await using server = await testServer({ handlers });
    for (const bytes of [
      Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
      Buffer.alloc(100_000, 0xff),
      Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Buffer.alloc(100_000, 0x7f)]),
      Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Buffer.alloc(9 * 1_000)]),
    ]) {
      const socket = connect(server.path);
      socket.on("error", () => {});
      socket.resume();
      await once(socket, "connect");
      await new Promise((written) => socket.write(bytes, written));
      await expectUnharmed(server);
      socket.destroy();
    }
  });

  test("createServer() answers a request that is not gRPC", async () => {
    await using server = await testServer({ handlers });
    const request = server.connectHttp2().request({ ":method": "POST", ":path": pathOf(getSession) });
    request.end();
    const [headers] = await once(request, "response");
    expect(headers[":status"]).toBe(415);
  });

  test.each([
    ["no", []],
    ["more than one", [{}, {}]],
  ])("a unary call with %s request is UNIMPLEMENTED", async (_, requests) => {
    await using server = await testServer({ handlers });
    const call = server.connect().makeClientStreamRequest(pathOf(getSession), asItIs, asItIs, () => {});
    for (const request of requests) call.write(encode(getSession, request));
    call.end();
    const [status] = await once(call, "status");
    expect(status.code).toBe(grpc.status.UNIMPLEMENTED);
    await expectUnharmed(server);
  });

  test("a time-out that can't be read is answered", async () => {
    await using server = await testServer({ handlers });
    const request = server.connectHttp2().request({
      ":method": "POST",
      ":path": pathOf(getSession),
      "content-type": "application/grpc",
      te: "trailers",
      "grpc-timeout": "soon",
    });
    request.end(Buffer.alloc(5));
    const [headers] = await once(request, "response");
    expect(headers["grpc-status"]).toBe(String(grpc.status.INTERNAL));
    await expectUnharmed(server);
  });
});

describe("far deadlines", () => {
  test.each(["99999999H", "99999999M", "99999999S", "2147484S", "600H"])(
    "boundDeadlines() a time-out of %s has not passed yet",
    async (timeout) => {
      await using server = await testServer({
        handlers: {
          getSession: async () => {
            await Bun.sleep(20); // work that takes longer than no time at all
            return {};
          },
        },
      });
      const request = server.connectHttp2().request({
        ":method": "POST",
        ":path": pathOf(getSession),
        "content-type": "application/grpc",
        te: "trailers",
        "grpc-timeout": timeout,
      });
      const { promise: trailers, resolve } = Promise.withResolvers<Record<string, unknown>>();
      request.on("response", (headers) => "grpc-status" in headers && resolve(headers));
      request.on("trailers", resolve);
      request.resume();
      request.end(Buffer.alloc(5));
      expect((await trailers)["grpc-status"]).toBe("0");
    },
  );
});

describe("too much", () => {
  test("a message of 101 MB is RESOURCE_EXHAUSTED", async () => {
    await using server = await testServer({ handlers });
    const error = await errorOf(callUnary(server.connect(), getSession, Buffer.alloc(101 * 1024 * 1024)));
    expect(error.code).toBe(grpc.status.RESOURCE_EXHAUSTED);
    await expectUnharmed(server);
  }, 30_000);

  test("metadata of 64 KB costs at most its own connection", async () => {
    await using server = await testServer({ handlers });
    const metadata = { "x-large": "x".repeat(64 * 1024) };
    await callUnary(server.connect(), getSession, {}, { metadata, deadline: Date.now() + 1_000 }).catch(
      () => {},
    );
    await expectUnharmed(server);
  });

  test("2,000 open streams are served and all ended by their client's end", async () => {
    await using server = await testServer({ handlers });
    const client = server.connect();
    const calls = Array.from({ length: 2_000 }, () => openServerStream(client, copyFromContainer));
    await Promise.all(calls.map((call) => once(call, "metadata")));
    expect(server.server.edge.open.size).toBe(2_000);
    await expectUnharmed(server);
    client.close();
    for (const call of calls) call.cancel();
    await allClosed(server);
    await expectUnharmed(server);
  }, 30_000);

  test("6,000 cancels on a connection leave its other calls alone", async () => {
    await using server = await testServer({ handlers });
    const client = server.connect();
    const innocent = openServerStream(client, copyFromContainer);
    let ended = false;
    innocent.on("status", () => {
      ended = true;
    });
    await once(innocent, "metadata");
    for (let round = 0; round < 60; round++) {
      const calls = Array.from({ length: 100 }, () => openServerStream(client, copyFromContainer));
      await Promise.all(calls.map((call) => once(call, "metadata")));
      for (const call of calls) call.cancel();
    }
    const { answer } = await callUnary(client, getSession, { sessionId: "same connection" });
    expect(answer).toMatchObject({ session: { id: "same connection" } });
    expect(ended).toBe(false);
    innocent.cancel();
    await allClosed(server);
  }, 60_000);

  test("a failure with a long message and many details reaches the client", async () => {
    await using server = await testServer({
      handlers: {
        getSession: () => {
          throw new Failure("invalid_argument", `Cannot get session: \ud800${"ä".repeat(1_000_000)}`, {
            violations: Array.from({ length: 10_000 }, (_, at) => ({
              field: `f${at}`,
              description: "\udfff is bad",
            })),
            metadata: { "\ud800": "\udfff".repeat(100_000) },
          });
        },
      },
    });
    const error = await errorOf(callUnary(server.connect(), getSession, {}));
    expect(error.code).toBe(grpc.status.INVALID_ARGUMENT);
    expect(error.details).toStartWith("Cannot get session: \ufffdä");
    expect(error.details).toEndWith("(cut)");
  });
});

describe("clients that vanish", () => {
  const phases: Record<string, (server: TestServer) => Promise<{ destroy(): void }>> = {
    "before the first byte": async (server) => {
      const socket = connect(server.path);
      await once(socket, "connect");
      return socket;
    },
    "in the middle of a request's header": async (server) => {
      const session = server.connectHttp2();
      const request = session.request(grpcHeaders(getSession));
      request.on("error", () => {});
      request.write(Buffer.from([0, 0, 0]));
      await once(session, "remoteSettings");
      return session;
    },
    "in the middle of a message": async (server) => {
      const session = server.connectHttp2();
      const request = session.request(grpcHeaders(copyToContainer));
      request.on("error", () => {});
      request.write(Buffer.from([0, 0, 0, 1, 0, 1, 2, 3]));
      while (server.server.edge.open.size === 0) await new Promise(setImmediate);
      return session;
    },
    "while a stream is open": async (server) => {
      const session = server.connectHttp2();
      const request = session.request(grpcHeaders(copyFromContainer));
      request.on("error", () => {});
      request.end(Buffer.alloc(5));
      await once(request, "response");
      return session;
    },
    "after half-closing a stream both ways": async (server) => {
      const session = server.connectHttp2();
      const request = session.request(grpcHeaders(streamMessages));
      request.on("error", () => {});
      request.end(Buffer.alloc(5));
      await once(request, "response");
      return session;
    },
  };

  function grpcHeaders(method: Parameters<typeof pathOf>[0]) {
    return { ":method": "POST", ":path": pathOf(method), "content-type": "application/grpc", te: "trailers" };
  }

  test.each(Object.keys(phases))("%s leave nothing behind", async (phase) => {
    await using server = await testServer({ handlers });
    const descriptors = () => readdirSync("/proc/self/fd").length;
    await expectUnharmed(server);
    for (let round = 0; round < 20; round++) {
      const client = await phases[phase]?.(server);
      client?.destroy();
    }
    await allClosed(server);
    await expectUnharmed(server);
    expect(server.server.edge.open.size).toBe(0);
    expect(descriptors()).toBeLessThan(200);
  });

  test("a client killed in the middle of its streams leaves nothing behind", async () => {
    await using server = await testServer({ handlers });
    const script = `
      import * as grpc from "@grpc/grpc-js";
      const same = (bytes) => bytes;
      const client = new grpc.Client("unix:${server.path}", grpc.credentials.createInsecure());
      for (let at = 0; at < 50; at++) {
        client.makeServerStreamRequest("${pathOf(copyFromContainer)}", same, same, Buffer.alloc(0)).resume();
        client.makeClientStreamRequest("${pathOf(copyToContainer)}", same, same, () => {}).write(Buffer.alloc(0));
        client.makeBidiStreamRequest("${pathOf(streamMessages)}", same, same).resume();
      }`;
    const child = Bun.spawn(["bun", "-e", script], { cwd: import.meta.dir, stdout: "ignore" });
    while (server.server.edge.open.size < 150) await new Promise(setImmediate);
    child.kill("SIGKILL");
    await child.exited;
    await allClosed(server);
    await expectUnharmed(server);
  }, 20_000);

  test("connections that say nothing are closed", async () => {
    await using server = await testServer({ handlers, keepaliveMs: 20, keepaliveTimeoutMs: 50 });
    const socket = connect(server.path);
    socket.resume();
    await once(socket, "close");
    await expectUnharmed(server);
  });

  test("connections that answer are kept", async () => {
    await using server = await testServer({ handlers, keepaliveMs: 5, keepaliveTimeoutMs: 1_000 });
    const session = server.connectHttp2();
    let pings = 0;
    await new Promise<void>((resolve) => session.on("ping", () => ++pings === 10 && resolve()));
    expect(session.destroyed).toBe(false);
  });
});

describe("bidirectional streams", () => {
  test("a client that ends twice is served once", async () => {
    await using server = await testServer({ handlers });
    const call = openBidiStream(server.connect(), streamMessages);
    call.write(encode(streamMessages, {}));
    const status = once(call, "status");
    call.resume();
    call.end();
    call.end();
    expect((await status)[0].code).toBe(grpc.status.OK);
    await expectUnharmed(server);
  });

  test("a stream that the server ended first is not held for a client that never half-closes", async () => {
    await using server = await testServer({
      stalledAfterMs: 50,
      handlers: {
        ...handlers,
        streamMessages: async function* () {
          yield {};
        },
      },
    });
    const session = server.connectHttp2();
    const request = session.request({
      ":method": "POST",
      ":path": pathOf(streamMessages),
      "content-type": "application/grpc",
      te: "trailers",
    });
    const closed = once(request, "close");
    request.resume();
    await closed;
    await expectUnharmed(server);
  });
});
