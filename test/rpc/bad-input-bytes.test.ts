import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { once } from "node:events";
import http2 from "node:http2";
import { connect } from "node:net";
import type { DescMethod } from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import { Health } from "../../src/gen/grpc/health/v1/health_pb.ts";
import { ServerReflection } from "../../src/gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as ServerReflectionAlpha } from "../../src/gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { AgentService } from "../../src/gen/proto/agent/v1/agent_pb.ts";
import { GatewayService } from "../../src/gen/proto/gateway/v1/gateway_pb.ts";
import { OrchestratorService } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { startServer, type TestServer } from "../server.ts";
import { type Canary, type Holdings, holdings, holdsAgain, startCanary } from "./canary.ts";
import { refusalIn, refusalOf, statusOf } from "./refusal.ts";
import { asItIs, encode } from "./test-server.ts";

const { method } = OrchestratorService;
const { INVALID_ARGUMENT, RESOURCE_EXHAUSTED, UNIMPLEMENTED } = grpc.status;

let server: TestServer;
let canary: Canary;
let client: grpc.Client;
let before: Holdings;

beforeAll(async () => {
  server = await startServer();
  canary = await startCanary(server);
  client = new grpc.Client(`unix:${server.socketPath}`, grpc.credentials.createInsecure());
  await refusalOf(client, method.getSession, {});
  before = holdings(server.pid);
});

afterAll(async () => {
  await canary?.unharmed();
  expect(server.logs()).not.toContain("defect");
  // A message of 100 MB may leave some of its memory with the allocator, once.
  await holdsAgain(server.pid, before, { spareBytes: 250 * 1024 * 1024 });
  client?.close();
  await server?.[Symbol.asyncDispose]();
}, 30_000);

describe("strings that are not UTF-8", () => {
  const mark = "\u0001\u0002\u0003";
  const bad: readonly (readonly [string, readonly number[]])[] = [
    ["bytes that no character begins with", [0xff, 0xfe, 0xff]],
    ["a lone high surrogate", [0xed, 0xa0, 0x80]],
    ["a lone low surrogate", [0xed, 0xbf, 0xbf]],
    ["a character cut short", [0x41, 0xe2, 0x82]],
    ["a character longer than it needs to be", [0xe0, 0x80, 0xaf]],
  ];
  const places: readonly (readonly [string, DescMethod, Record<string, unknown>])[] = [
    ["GetSession's session_id", method.getSession, { sessionId: mark }],
    ["CreateSession's metadata.name", method.createSession, { metadata: { name: mark } }],
    ["a label's key", method.createSession, { metadata: { labels: { [mark]: "x" } } }],
    ["a label's value", method.createSession, { metadata: { labels: { x: mark } } }],
    ["an idempotency_key", method.createSession, { idempotencyKey: mark }],
    ["SendMessage's message.content", method.sendMessage, { message: { content: mark } }],
    ["a cursor", method.subscribeEvents, { resumeAfter: mark }],
    ["a command's word", method.execContainer, { payload: { case: "start", value: { command: [mark] } } }],
  ];
  for (const [what, bytes] of bad) {
    test.each(places)(`${what} in %s are INVALID_ARGUMENT`, async (_, called, request) => {
      const encoded = encode(called, request);
      encoded.set(bytes, encoded.indexOf(mark));
      const refusal = await refusalOf(client, called, encoded);
      expect(refusal).toMatchObject({ code: INVALID_ARGUMENT, reason: "MALFORMED_MESSAGE" });
      expect(refusal.message).toContain(called.input.typeName);
    });
  }
});

describe("bytes that are no message", () => {
  const garbage: readonly (readonly [string, Buffer])[] = [
    ["a number without end", Buffer.alloc(11, 0xff)],
    ["a text cut short", Buffer.from([0x0a, 0x7f, 0x41])],
    ["field number 0", Buffer.from([0x02, 0x01, 0x41])],
    ["a kind of field that there is not", Buffer.from([0x0f])],
    ["a group without end", Buffer.from([0x0b])],
  ];
  const services = [
    OrchestratorService,
    AgentService,
    GatewayService,
    Health,
    ServerReflection,
    ServerReflectionAlpha,
  ];
  for (const [what, bytes] of garbage) {
    test.each(
      services.flatMap(({ methods }) =>
        methods.map((each) => [`${each.parent.typeName}/${each.name}`, each] as const),
      ),
    )(`${what} to %s: a typed refusal`, async (_, called) => {
      const { code } = await refusalOf(client, called, bytes);
      expect([INVALID_ARGUMENT, UNIMPLEMENTED]).toContain(code);
    });
  }

  test("half a message in the middle of a stream ends that stream alone", async () => {
    const call = client.makeBidiStreamRequest(
      `/${method.execContainer.parent.typeName}/${method.execContainer.name}`,
      asItIs,
      asItIs,
    );
    call.write(Buffer.from([0x0a, 0x7f]));
    expect(refusalIn(await statusOf(call))).toMatchObject({
      code: INVALID_ARGUMENT,
      reason: "MALFORMED_MESSAGE",
    });
  });
});

describe("too much", () => {
  test("a message of 101 MB is RESOURCE_EXHAUSTED", async () => {
    const refusal = await refusalOf(client, method.sendMessage, Buffer.alloc(101 * 1024 * 1024), {
      deadline: Date.now() + 60_000,
    });
    expect(refusal.code).toBe(RESOURCE_EXHAUSTED);
  }, 60_000);

  test("a message of 99 MB is looked at, and its content refused", async () => {
    const request = { sessionId: "x", message: { role: 1, content: "x".repeat(99 * 1024 * 1024) } };
    const refusal = await refusalOf(client, method.sendMessage, request, { deadline: Date.now() + 60_000 });
    expect(refusal).toMatchObject({ code: INVALID_ARGUMENT, fields: ["message.content"] });
  }, 60_000);

  test("metadata of 64 KB costs at most its own connection", async () => {
    const own = new grpc.Client(`unix:${server.socketPath}`, grpc.credentials.createInsecure(), {
      "grpc.use_local_subchannel_pool": 1,
    });
    const metadata = new grpc.Metadata();
    metadata.set("x-large", "x".repeat(64 * 1024));
    const call = own.makeServerStreamRequest(
      `/${method.subscribeEvents.parent.typeName}/SubscribeEvents`,
      asItIs,
      asItIs,
      Buffer.alloc(0),
      metadata,
      { deadline: Date.now() + 2_000 },
    );
    expect((await statusOf(call)).code).not.toBe(grpc.status.OK);
    own.close();
  });

  test("a correlation id of 10 KB or with odd characters is replaced", async () => {
    for (const given of ["x".repeat(10_000), "x".repeat(129), " "]) {
      const metadata = new grpc.Metadata();
      metadata.set("x-correlation-id", given);
      const call = client.makeServerStreamRequest(
        `/${method.getSession.parent.typeName}/GetSession`,
        asItIs,
        asItIs,
        Buffer.alloc(0),
        metadata,
      );
      const { metadata: told } = refusalIn(await statusOf(call));
      expect(told.correlation_id).toMatch(/^[0-9a-f-]{36}$/);
    }
  });
});

describe("connections that speak something else", () => {
  const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  const frame = (type: number, flags: number, stream: number, payload: Buffer) => {
    const head = Buffer.alloc(9);
    head.writeUIntBE(payload.byteLength, 0, 3);
    head.writeUInt8(type, 3);
    head.writeUInt8(flags, 4);
    head.writeUInt32BE(stream, 5);
    return Buffer.concat([head, payload]);
  };
  const settings = frame(4, 0, 0, Buffer.alloc(0));
  const noise = (length: number) => Buffer.from(Array.from({ length }, (_, at) => (at * 7_919 + 13) % 251));
  const talks: readonly (readonly [string, Buffer])[] = [
    ["HTTP/1.1", Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n\r\n")],
    ["noise", noise(100_000)],
    ["noise after the preface", Buffer.concat([preface, noise(100_000)])],
    [
      "a frame of 16 MB that never comes",
      Buffer.concat([preface, settings, Buffer.from([0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1])]),
    ],
    ["headers that no table has", Buffer.concat([preface, settings, frame(1, 5, 1, Buffer.alloc(64, 0xff))])],
    ["data for a stream that is not open", Buffer.concat([preface, settings, frame(0, 1, 7, noise(100))])],
    [
      "continuations without headers",
      Buffer.concat([preface, settings, ...Array.from({ length: 100 }, () => frame(9, 0, 1, noise(10)))]),
    ],
    ["10,000 settings", Buffer.concat([preface, ...Array.from({ length: 10_000 }, () => settings)])],
    [
      "10,000 pings",
      Buffer.concat([
        preface,
        settings,
        ...Array.from({ length: 10_000 }, () => frame(6, 0, 0, Buffer.alloc(8))),
      ]),
    ],
    [
      "a window that overflows",
      Buffer.concat([preface, settings, frame(8, 0, 0, Buffer.from([0x7f, 0xff, 0xff, 0xff]))]),
    ],
    ["half a preface", preface.subarray(0, 10)],
  ];
  test.each(talks)("%s costs only itself", async (_, bytes) => {
    const sockets = Array.from({ length: 5 }, () => connect(server.socketPath));
    for (const socket of sockets) {
      socket.on("error", () => {});
      socket.resume();
      await once(socket, "connect");
      await new Promise((written) => socket.write(bytes, written));
    }
    expect((await refusalOf(client, method.getSession, {})).code).toBe(INVALID_ARGUMENT);
    for (const socket of sockets) socket.destroy();
  });

  test("HTTP/2 that is not gRPC is answered as HTTP", async () => {
    const session = http2.connect("http://localhost", { createConnection: () => connect(server.socketPath) });
    const request = session.request({ ":method": "GET", ":path": "/" });
    request.end();
    const [headers] = await once(request, "response");
    expect(headers[":status"]).toBeGreaterThanOrEqual(400);
    session.destroy();
  });
});
