import { expect, test } from "bun:test";
import { once } from "node:events";
import { fromBinary } from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import { Failure } from "../../src/failure.ts";
import { CopyFromContainerResponseSchema } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import {
  callUnary,
  encode,
  endOf,
  errorInfoIn,
  openServerStream,
  pathOf,
  SERVICE,
  type TestHandlers,
  testServer,
} from "./test-server.ts";

const { getSession, copyFromContainer } = SERVICE.method;

/** The stream `flood` sends as much as is read of it, and any other one a numbered message when `tick` is called. */
function floodAndTicks() {
  const ended = Promise.withResolvers<void>();
  let next = Promise.withResolvers<void>();
  const handlers: TestHandlers = {
    getSession: async () => ({}),
    copyFromContainer: async function* ({ path }, call) {
      call.open();
      if (path === "flood") {
        let sent = 0;
        call.onStalled = () =>
          new Failure("resource_exhausted", "Cannot go on: you did not read", {
            metadata: { cursor: String(sent) },
          });
        try {
          for (;;) {
            sent += 1;
            yield { data: Buffer.alloc(4_000, String(sent)) };
          }
        } finally {
          ended.resolve();
        }
      }
      for (let at = 1; ; at++) {
        await next.promise;
        yield { data: Buffer.from(String(at)) };
      }
    },
  };
  function tick(): void {
    next.resolve();
    next = Promise.withResolvers();
  }
  return { handlers, ended: ended.promise, tick };
}

async function unreadFlood(client: grpc.Client): Promise<grpc.ClientReadableStream<Buffer>> {
  const flood = openServerStream(client, copyFromContainer, { path: "flood" });
  await once(flood, "data");
  flood.pause();
  return flood;
}

test("Nudges.of() one unread stream does not hold up the others of its connection", async () => {
  const { handlers, tick } = floodAndTicks();
  // Keepalive is off, because its pings would set the streams free as well, if later.
  await using server = await testServer({ handlers, keepaliveMs: 1_000_000 });
  const client = server.connect();
  const victim = openServerStream(client, copyFromContainer);
  await once(victim, "metadata");
  await unreadFlood(client);
  for (let turn = 0; turn < 50; turn++) await callUnary(client, getSession, {});
  for (let at = 1; at <= 100; at++) {
    tick();
    const [bytes] = await once(victim, "data");
    expect(fromBinary(CopyFromContainerResponseSchema, bytes).data.toString()).toBe(
      Buffer.from(String(at)).toString(),
    );
  }
});

test("Nudges.of() the others are not held up either when the unread stream is gone", async () => {
  const { handlers, ended, tick } = floodAndTicks();
  await using server = await testServer({ handlers, keepaliveMs: 1_000_000, stalledAfterMs: 50 });
  const client = server.connect();
  const victim = openServerStream(client, copyFromContainer);
  await once(victim, "metadata");
  const flood = await unreadFlood(client);
  const gone = new Promise((resolve) => flood.on("status", resolve));
  await ended;
  await gone;
  for (let at = 1; at <= 20; at++) {
    tick();
    await once(victim, "data");
  }
});

test("Responses.expire() ends a stream that is not read, and the status with the cursor waits for its reader", async () => {
  const { handlers, ended } = floodAndTicks();
  await using server = await testServer({ handlers, stalledAfterMs: 500 });
  const flood = await unreadFlood(server.connect());
  await ended;
  let received = 1;
  flood.on("data", () => received++);
  const end = await endOf(flood);
  expect(end.code).toBe(grpc.status.RESOURCE_EXHAUSTED);
  expect(end.details).toBe("Cannot go on: you did not read");
  // All that came before the cursor has come, and nothing after it.
  expect(errorInfoIn(Object.assign(new Error(), end)).metadata.cursor).toBe(String(received));
});

test("Patience.begin() discards what a client never reads, status and all", async () => {
  const { handlers } = floodAndTicks();
  await using server = await testServer({ handlers, stalledAfterMs: 50 });
  const request = server.connectHttp2().request({
    ":method": "POST",
    ":path": pathOf(copyFromContainer),
    "content-type": "application/grpc",
    te: "trailers",
  });
  request.on("error", () => {});
  const message = encode(copyFromContainer, { path: "flood" });
  request.end(Buffer.concat([Buffer.from([0, 0, 0, 0, message.byteLength]), message]));
  await once(request, "response");
  const reset = Promise.withResolvers<void>();
  request.on("close", reset.resolve);
  await reset.promise;
  expect(request.rstCode).toBe(11);
});

test("Responses.room() tells a handler without onStalled's stream what happened", async () => {
  const { promise: ended, resolve: end } = Promise.withResolvers<void>();
  await using server = await testServer({
    stalledAfterMs: 100,
    handlers: {
      copyFromContainer: async function* () {
        try {
          for (;;) yield { data: new Uint8Array(4_000) };
        } finally {
          end();
        }
      },
    },
  });
  const flood = await unreadFlood(server.connect());
  await ended;
  const status = await endOf(flood);
  expect(status.code).toBe(grpc.status.RESOURCE_EXHAUSTED);
});

test("Responses.expire() survives an onStalled that throws", async () => {
  const defect = new Error("no cursor");
  const { promise: ended, resolve: end } = Promise.withResolvers<void>();
  await using server = await testServer({
    stalledAfterMs: 100,
    handlers: {
      copyFromContainer: async function* (_, call) {
        call.onStalled = () => {
          throw defect;
        };
        try {
          for (;;) yield { data: new Uint8Array(4_000) };
        } finally {
          end();
        }
      },
    },
  });
  const flood = await unreadFlood(server.connect());
  await ended;
  expect((await endOf(flood)).code).toBe(grpc.status.INTERNAL);
  expect(server.defects).toEqual([defect]);
});

test("Responses.room() waits as long as it takes for a client that reads slowly but steadily", async () => {
  let sent = 0;
  await using server = await testServer({
    stalledAfterMs: 200,
    handlers: {
      copyFromContainer: async function* () {
        for (; sent < 200; sent++) yield { data: new Uint8Array(8_000) };
      },
    },
  });
  const stream = openServerStream(server.connect(), copyFromContainer);
  const status = once(stream, "status");
  let received = 0;
  for await (const _ of stream) {
    received += 1;
    if (received % 10 === 0) await Bun.sleep(30); // the reader's slowness is what is tested
  }
  expect((await status)[0].code).toBe(grpc.status.OK);
  expect(received).toBe(200);
});
