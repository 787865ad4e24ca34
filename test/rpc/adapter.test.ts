import { describe, expect, test } from "bun:test";
import { once } from "node:events";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import { Failure, invalid } from "../../src/failure.ts";
import {
  CopyFromContainerResponseSchema,
  CopyToContainerRequestSchema,
  GetSessionResponseSchema,
  StreamMessageRequestSchema,
  StreamMessageResponseSchema,
} from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import type { Call } from "../../src/rpc/call.ts";
import { Encoded } from "../../src/rpc/encoded.ts";
import {
  callUnary,
  encode,
  endOf,
  errorInfoIn,
  errorOf,
  openBidiStream,
  openClientStream,
  openServerStream,
  pathOf,
  SERVICE,
  statusIn,
  testServer,
} from "./test-server.ts";

const { getSession, copyFromContainer, copyToContainer, streamMessages, listSessions } = SERVICE.method;

describe("unary handlers", () => {
  test("addService() serves a method under the service's name and its alias", async () => {
    const called: string[] = [];
    await using server = await testServer({
      handlers: {
        getSession: async ({ sessionId }, call) => {
          called.push(call.method);
          return { session: { id: sessionId } };
        },
      },
    });
    const client = server.connect();
    const { answer } = await callUnary(client, getSession, { sessionId: "s" });
    expect(answer).toMatchObject({ session: { id: "s" } });
    await callUnary(client, getSession, {}, { path: "/orchestrator.v1.OrchestratorService/GetSession" });
    expect(called).toEqual([
      "proto.orchestrator.v1.OrchestratorService/GetSession",
      "orchestrator.v1.OrchestratorService/GetSession",
    ]);
  });

  test("addService() sends an Encoded answer as it is", async () => {
    const bytes = toBinary(
      GetSessionResponseSchema,
      create(GetSessionResponseSchema, { session: { id: "encoded" } }),
    );
    await using server = await testServer({ handlers: { getSession: () => new Encoded(bytes) } });
    const { answer } = await callUnary(server.connect(), getSession, {});
    expect(answer).toMatchObject({ session: { id: "encoded" } });
  });

  test("addService() answers UNIMPLEMENTED for a method without a handler, of every kind", async () => {
    await using server = await testServer();
    const client = server.connect();
    const expected = "this version does not serve it yet";
    const error = await errorOf(callUnary(client, getSession, {}));
    expect(error.code).toBe(grpc.status.UNIMPLEMENTED);
    expect(error.details).toBe(
      `Cannot call proto.orchestrator.v1.OrchestratorService/GetSession: ${expected}`,
    );
    const streams = [openServerStream(client, copyFromContainer), openBidiStream(client, streamMessages)];
    for (const end of await Promise.all(streams.map(endOf))) {
      expect(end.code).toBe(grpc.status.UNIMPLEMENTED);
      expect(end.details).toEndWith(expected);
    }
    const upload = await errorOf(openClientStream(client, copyToContainer).answer);
    expect(upload.code).toBe(grpc.status.UNIMPLEMENTED);
    expect(upload.details).toEndWith(expected);
  });

  test("addService() leaves unknown methods and services UNIMPLEMENTED", async () => {
    await using server = await testServer();
    const client = server.connect();
    for (const path of [
      "/proto.orchestrator.v1.OrchestratorService/Nope",
      "/no.such.Service/GetSession",
      "/",
      "/x",
    ]) {
      const error = await errorOf(callUnary(client, getSession, {}, { path }));
      expect(error.code).toBe(grpc.status.UNIMPLEMENTED);
    }
  });

  test("createServer() maps a Failure with its details", async () => {
    await using server = await testServer({
      handlers: {
        getSession: async () => {
          throw invalid("get session", [{ field: "session_id", description: "is empty" }]);
        },
      },
    });
    const error = await errorOf(
      callUnary(server.connect(), getSession, {}, { metadata: { "x-correlation-id": "c1" } }),
    );
    expect(error.code).toBe(grpc.status.INVALID_ARGUMENT);
    expect(error.details).toBe("Cannot get session: session_id is empty");
    expect(statusIn(error).details.map(({ typeUrl }) => typeUrl)).toEqual([
      "type.googleapis.com/google.rpc.BadRequest",
      "type.googleapis.com/google.rpc.ErrorInfo",
      "type.googleapis.com/google.rpc.RequestInfo",
    ]);
    expect(errorInfoIn(error)).toMatchObject({ domain: "baaaht", metadata: { correlation_id: "c1" } });
    expect(error.metadata.get("x-correlation-id")).toEqual(["c1"]);
  });

  test.each([
    ["an error", new Error("secret")],
    ["a string", "secret"],
    ["undefined", undefined],
    ["null", null],
    [
      "an object that can't be shown",
      {
        get message() {
          throw new Error("secret");
        },
      },
    ],
  ])("createServer() reports %s that a handler throws and answers INTERNAL", async (_, thrown) => {
    await using server = await testServer({
      handlers: {
        getSession: async () => Promise.reject(thrown),
        listSessions: () => {
          throw thrown;
        },
      },
    });
    const client = server.connect();
    for (const method of [getSession, listSessions]) {
      const error = await errorOf(callUnary(client, method, {}, { metadata: { "x-correlation-id": "c2" } }));
      expect(error.code).toBe(grpc.status.INTERNAL);
      expect(error.details).toContain("c2");
      expect(error.details).not.toContain("secret");
    }
    expect(server.defects).toEqual([thrown, thrown]);
  });

  test("createServer() answers when the report itself throws", async () => {
    await using server = await testServer({
      handlers: { getSession: () => Promise.reject(new Error("defect")) },
      report: () => {
        throw new Error("the log is full");
      },
    });
    expect((await errorOf(callUnary(server.connect(), getSession, {}))).code).toBe(grpc.status.INTERNAL);
  });

  test("createServer() answers when it can't be said who calls", async () => {
    await using server = await testServer({
      handlers: { getSession: () => ({}) },
      callerOf: () => {
        throw new Error("the kernel does not know");
      },
    });
    const { promise: warned, resolve } = Promise.withResolvers<Error>();
    process.once("warning", resolve);
    expect((await errorOf(callUnary(server.connect(), getSession, {}))).code).toBe(grpc.status.INTERNAL);
    expect((await warned).message).toBe("the kernel does not know");
  });

  test("createServer() refuses an answer that is larger than a message may be", async () => {
    await using server = await testServer({
      maxReceiveBytes: 1_000,
      maxSendBytes: 1_000,
      handlers: { getSession: async () => ({ session: { id: "x".repeat(1_001) } }) },
    });
    const error = await errorOf(callUnary(server.connect(), getSession, {}));
    expect(error.code).toBe(grpc.status.RESOURCE_EXHAUSTED);
    expect(error.details).toContain("a message may have 1000");
  });
});

describe("the call", () => {
  async function callSeen(options: Parameters<typeof callUnary>[3]) {
    let seen: Call | undefined;
    await using server = await testServer({
      handlers: {
        getSession: async (_, call) => {
          call.trailer("x-more", "later");
          seen = call;
          return {};
        },
      },
    });
    const { headers, trailers } = await callUnary(server.connect(), getSession, {}, options);
    if (seen === undefined) throw new Error("the handler was not called");
    return { call: seen, headers, trailers };
  }

  test("correlationId is the client's, and sent back", async () => {
    const { call, headers } = await callSeen({ metadata: { "x-correlation-id": "given-1" } });
    expect(call.correlationId).toBe("given-1");
    expect(headers.get("x-correlation-id")).toEqual(["given-1"]);
  });

  test("correlationId is x-request-id when there is no other", async () => {
    expect((await callSeen({ metadata: { "x-request-id": "given-2" } })).call.correlationId).toBe("given-2");
  });

  test.each([
    ["empty", ""],
    ["too long", "x".repeat(129)],
  ])("correlationId is made when the client's is %s", async (_, id) => {
    const { call, headers } = await callSeen({ metadata: { "x-correlation-id": id } });
    expect(call.correlationId).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7/);
    expect(headers.get("x-correlation-id")).toEqual([call.correlationId]);
  });

  test("metadata holds the client's text by name", async () => {
    const { call } = await callSeen({ metadata: { "X-Some": "thing" } });
    expect(call.metadata.get("x-some")).toBe("thing");
  });

  test("deadline is the client's in milliseconds, or undefined", async () => {
    const deadline = Date.now() + 60_000;
    const { call } = await callSeen({ deadline });
    expect(Math.abs((call.deadline ?? 0) - deadline)).toBeLessThan(10_000);
    expect((await callSeen({})).call.deadline).toBeUndefined();
  });

  test("trailer() comes with the answer's end", async () => {
    expect((await callSeen({})).trailers.get("x-more")).toEqual(["later"]);
  });

  test("signal stays quiet after an answer", async () => {
    let signal: AbortSignal | undefined;
    await using server = await testServer({
      handlers: {
        getSession: async (_, call) => {
          signal = call.signal;
          return {};
        },
      },
    });
    const client = server.connect();
    await callUnary(client, getSession, {});
    await callUnary(client, getSession, {});
    expect(signal?.aborted).toBe(false);
    expect(server.server.edge.open.size).toBe(0);
  });

  test("signal is aborted by the client's cancel", async () => {
    const { promise: aborted, resolve } = Promise.withResolvers<unknown>();
    await using server = await testServer({
      handlers: {
        copyFromContainer: async function* (_, call) {
          call.signal.addEventListener("abort", () => resolve(call.signal.reason));
          call.open();
          await aborted;
          yield {};
        },
      },
    });
    const call = openServerStream(server.connect(), copyFromContainer);
    await once(call, "metadata");
    call.cancel();
    expect(await aborted).toMatchObject({ kind: "cancelled" });
  });

  test("signal is aborted by the deadline", async () => {
    const { promise: aborted, resolve } = Promise.withResolvers<unknown>();
    await using server = await testServer({
      handlers: {
        getSession: (_, call) => {
          call.signal.addEventListener("abort", () => resolve(call.signal.reason));
          return Promise.withResolvers<never>().promise;
        },
      },
    });
    // A client that leaves it to the server, so that its own cancel can't come first.
    const request = server.connectHttp2().request({
      ":method": "POST",
      ":path": pathOf(getSession),
      "content-type": "application/grpc",
      te: "trailers",
      "grpc-timeout": "50m",
    });
    request.end(Buffer.alloc(5));
    const [headers] = await once(request, "response");
    expect(headers["grpc-status"]).toBe(String(grpc.status.DEADLINE_EXCEEDED));
    expect(await aborted).toMatchObject({ kind: "deadline_exceeded" });
  });

  test("signal that is first asked for after the abort is aborted", async () => {
    const { promise: cancelled, resolve } = Promise.withResolvers<void>();
    const { promise: seen, resolve: see } = Promise.withResolvers<AbortSignal>();
    await using server = await testServer({
      handlers: {
        getSession: async (_, call) => {
          await cancelled;
          see(call.signal);
          return {};
        },
      },
    });
    const client = server.connect();
    await errorOf(callUnary(client, getSession, {}, { deadline: Date.now() + 50 }));
    await errorOf(callUnary(client, listSessions, {})); // by now the server knows of the cancel, too
    resolve();
    expect((await seen).aborted).toBe(true);
  });

  test("a deadline that has passed is DEADLINE_EXCEEDED", async () => {
    await using server = await testServer({ handlers: { getSession: async () => ({}) } });
    const error = await errorOf(callUnary(server.connect(), getSession, {}, { deadline: 0 }));
    expect(error.code).toBe(grpc.status.DEADLINE_EXCEEDED);
  });
});

describe("server-streaming handlers", () => {
  test("open() sends the headers before the first answer", async () => {
    const { promise: asked, resolve: ask } = Promise.withResolvers<void>();
    await using server = await testServer({
      handlers: {
        copyFromContainer: async function* (_, call) {
          call.open();
          await asked;
          yield { data: Buffer.from("a") };
        },
      },
    });
    const call = openServerStream(server.connect(), copyFromContainer);
    await once(call, "metadata");
    ask();
    const [bytes] = await once(call, "data");
    expect(fromBinary(CopyFromContainerResponseSchema, bytes).data.toString()).toBe(
      Buffer.from("a").toString(),
    );
  });

  test("an answer of no messages is OK", async () => {
    await using server = await testServer({ handlers: { copyFromContainer: async function* () {} } });
    expect((await endOf(openServerStream(server.connect(), copyFromContainer))).code).toBe(grpc.status.OK);
  });

  test("what comes before a generator throws is delivered, then the status", async () => {
    await using server = await testServer({
      handlers: {
        copyFromContainer: async function* () {
          yield {};
          yield {};
          throw new Failure("aborted", "Cannot go on: that was all");
        },
      },
    });
    const call = openServerStream(server.connect(), copyFromContainer);
    let received = 0;
    call.on("data", () => received++);
    expect(await endOf(call)).toMatchObject({
      code: grpc.status.ABORTED,
      details: "Cannot go on: that was all",
    });
    expect(received).toBe(2);
  });

  test("a defect in a generator is reported and INTERNAL", async () => {
    const defect = new TypeError("x is undefined");
    await using server = await testServer({
      handlers: {
        copyFromContainer: async function* () {
          yield {};
          throw defect;
        },
      },
    });
    expect((await endOf(openServerStream(server.connect(), copyFromContainer))).code).toBe(
      grpc.status.INTERNAL,
    );
    expect(server.defects).toEqual([defect]);
  });

  test("a generator's finally runs when the client cancels", async () => {
    const { promise: cleaned, resolve: clean } = Promise.withResolvers<void>();
    await using server = await testServer({
      handlers: {
        copyFromContainer: async function* (_, call) {
          try {
            for (;;) {
              yield {};
              await Bun.sleep(1); // a rhythm: the reader stops it
              call.signal.throwIfAborted();
            }
          } finally {
            clean();
          }
        },
      },
    });
    const call = openServerStream(server.connect(), copyFromContainer);
    await once(call, "data");
    call.cancel();
    await cleaned;
    expect(server.defects).toEqual([]);
    expect(server.server.edge.open.size).toBe(0);
  });

  test("an endless generator is held back by a client that reads slowly", async () => {
    let made = 0;
    await using server = await testServer({
      handlers: {
        copyFromContainer: async function* () {
          for (;;) {
            made += 1;
            yield { data: new Uint8Array(1_000) };
          }
        },
      },
    });
    const call = openServerStream(server.connect(), copyFromContainer);
    await once(call, "data");
    call.pause();
    // Unary calls go through meanwhile, and give the generator every chance to run on.
    const client = server.connect();
    for (let turn = 0; turn < 200; turn++) await errorOf(callUnary(client, getSession, {}));
    expect(made).toBeLessThan(1_000);
    call.cancel();
  });
});

describe("client-streaming handlers", () => {
  const data = (text: string) =>
    Buffer.from(
      toBinary(
        CopyToContainerRequestSchema,
        create(CopyToContainerRequestSchema, { payload: { case: "data", value: Buffer.from(text) } }),
      ),
    );

  test("the requests come in order and end with the half-close", async () => {
    await using server = await testServer({
      handlers: {
        copyToContainer: async (requests) => {
          let bytesWritten = 0n;
          for await (const { payload } of requests) {
            if (payload.case === "data") bytesWritten = bytesWritten * 10n + BigInt(payload.value.toString());
          }
          return { bytesWritten };
        },
      },
    });
    const { call, answer } = openClientStream(server.connect(), copyToContainer);
    for (const digit of "12345") call.write(data(digit));
    call.end();
    expect(await answer).toMatchObject({ bytesWritten: 12345n });
  });

  test("a half-close without a message ends the requests", async () => {
    await using server = await testServer({
      handlers: {
        copyToContainer: async (requests) => {
          let count = 0n;
          for await (const _ of requests) count += 1n;
          return { bytesWritten: count };
        },
      },
    });
    const { call, answer } = openClientStream(server.connect(), copyToContainer);
    call.end();
    expect(await answer).toMatchObject({ bytesWritten: 0n });
  });

  test("an answer before the half-close ends the call", async () => {
    await using server = await testServer({
      handlers: { copyToContainer: async () => ({ bytesWritten: 7n }) },
    });
    const { call, answer } = openClientStream(server.connect(), copyToContainer);
    call.write(data("1"));
    expect(await answer).toMatchObject({ bytesWritten: 7n });
  });

  test("the requests throw when the client cancels", async () => {
    const { promise: thrown, resolve } = Promise.withResolvers<unknown>();
    const { promise: started, resolve: start } = Promise.withResolvers<void>();
    await using server = await testServer({
      handlers: {
        copyToContainer: async (requests) => {
          try {
            for await (const _ of requests) start();
          } catch (error) {
            resolve(error);
          }
          return {};
        },
      },
    });
    const { call } = openClientStream(server.connect(), copyToContainer);
    call.write(data("1"));
    await started;
    call.cancel();
    expect(await thrown).toMatchObject({ kind: "cancelled" });
  });

  test("a request that can't be decoded is INVALID_ARGUMENT", async () => {
    await using server = await testServer({
      handlers: {
        copyToContainer: async (requests) => {
          for await (const _ of requests);
          return {};
        },
      },
    });
    const { call, answer } = openClientStream(server.connect(), copyToContainer);
    call.write(Buffer.from([0xff, 0xff, 0xff]));
    const error = await errorOf(answer);
    expect(error.code).toBe(grpc.status.INVALID_ARGUMENT);
    expect(error.details).toContain("proto.orchestrator.v1.CopyToContainerRequest");
  });

  test("requests are read only as the handler asks for them", async () => {
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    await using server = await testServer({
      handlers: {
        copyToContainer: async (requests) => {
          await released;
          let bytesWritten = 0n;
          for await (const { payload } of requests) {
            if (payload.case === "data") bytesWritten += BigInt(payload.value.byteLength);
          }
          return { bytesWritten };
        },
      },
    });
    const client = server.connect();
    const { call, answer } = openClientStream(client, copyToContainer);
    const megabyte = data("x".repeat(1024 * 1024));
    let written = 0;
    for (let part = 0; part < 20; part++) call.write(megabyte, () => written++);
    for (let turn = 0; turn < 100; turn++) await errorOf(callUnary(client, getSession, {}));
    expect(written).toBeLessThan(10);
    release();
    call.end();
    expect(await answer).toMatchObject({ bytesWritten: 20n * 1024n * 1024n });
  });
});

describe("bidirectional handlers", () => {
  const frame = (sessionId: string) =>
    encode(streamMessages, create(StreamMessageRequestSchema, { sessionId }));

  test("each request is answered as it comes, and the half-close ends the stream", async () => {
    await using server = await testServer({
      handlers: {
        streamMessages: async function* (requests) {
          for await (const { sessionId } of requests) {
            yield { payload: { case: "message", value: { content: sessionId } } };
          }
        },
      },
    });
    const call = openBidiStream(server.connect(), streamMessages);
    const received: unknown[] = [];
    for (const word of ["one", "two", "three"]) {
      call.write(frame(word));
      const [bytes] = await once(call, "data");
      received.push(fromBinary(StreamMessageResponseSchema, bytes).payload.value);
    }
    expect(received).toMatchObject([{ content: "one" }, { content: "two" }, { content: "three" }]);
    const end = endOf(call);
    call.end();
    expect((await end).code).toBe(grpc.status.OK);
  });

  test("a handler may end the stream while the client still writes", async () => {
    await using server = await testServer({
      handlers: {
        streamMessages: async function* (requests) {
          for await (const _ of requests) break;
          yield {};
        },
      },
    });
    const call = openBidiStream(server.connect(), streamMessages);
    call.write(frame("first"));
    call.write(frame("second"));
    expect((await endOf(call)).code).toBe(grpc.status.OK);
  });
});

describe("stopCalls()", () => {
  test("aborts what is open, which may still have a last word", async () => {
    const server = await testServer({
      handlers: {
        copyFromContainer: async function* (_, call) {
          call.open();
          await new Promise((resolve) => call.signal.addEventListener("abort", resolve));
          yield { data: Buffer.from("last") };
          throw call.signal.reason;
        },
      },
    });
    const call = openServerStream(server.connect(), copyFromContainer);
    const received: Buffer[] = [];
    call.on("data", (bytes: Buffer) => received.push(bytes));
    await once(call, "metadata");
    const end = endOf(call);
    const stopped = server[Symbol.asyncDispose]();
    expect(await end).toMatchObject({ code: grpc.status.UNAVAILABLE });
    expect(received).toHaveLength(1);
    await stopped;
  });

  test("ends the calls that don't heed it when their grace is over", async () => {
    const server = await testServer({
      graceMs: 50,
      handlers: {
        copyFromContainer: async function* (_, call) {
          call.open();
          await Promise.withResolvers<never>().promise;
          yield {};
        },
      },
    });
    const call = openServerStream(server.connect(), copyFromContainer);
    await once(call, "metadata");
    const end = endOf(call);
    await server[Symbol.asyncDispose]();
    const { code, details } = await end;
    expect(code).toBe(grpc.status.UNAVAILABLE);
    expect(details).toContain("shutting down");
  });
});
