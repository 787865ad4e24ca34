import { expect, test } from "bun:test";
import { mkdtempSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as grpc from "@grpc/grpc-js";
import { listen } from "../../src/daemon/listener.ts";
import { addService, createServer } from "../../src/rpc/adapter.ts";
import { callUnary, errorOf, openServerStream, SERVICE, testServer } from "./test-server.ts";

const { getSession, subscribeEvents } = SERVICE.method;

test("createServer() refuses a call over maxCalls, and takes the next one when there is room again", async () => {
  const ending = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  await using server = await testServer({
    maxCalls: 1,
    handlers: {
      getSession: () => ({}),
      subscribeEvents: async function* (_, call) {
        call.open();
        begun.resolve();
        await ending.promise;
        yield* [];
      },
    },
  });
  const client = server.connect();
  const stream = openServerStream(client, subscribeEvents, {});
  await begun.promise;
  const refused = await errorOf(callUnary(client, getSession, {}));
  expect(refused.code).toBe(grpc.status.RESOURCE_EXHAUSTED);
  expect(refused.details).toContain("1 calls are in progress");
  const ended = new Promise((resolve) => stream.once("end", resolve));
  stream.resume();
  ending.resolve();
  await ended;
  await callUnary(client, getSession, {});
});

test("listen() closes a connection over maxConnections", async () => {
  const path = join(mkdtempSync(join(tmpdir(), "baaaht-bounds-")), "s");
  const server = createServer({ report: () => {} });
  addService(server, SERVICE, { getSession: () => ({}) });
  await using _listener = await listen(server, { path, graceMs: 100, maxConnections: 1 });
  const first = await connected(path);
  const second = await connected(path);
  await new Promise((resolve) => second.once("close", resolve));
  expect(first.destroyed).toBe(false);
  first.destroy();
});

function connected(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path, () => resolve(socket));
    socket.on("error", reject);
    socket.resume();
  });
}
