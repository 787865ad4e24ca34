import { describe, expect, test } from "bun:test";
import { connect } from "node:net";
import { peerOf } from "../../src/daemon/peer.ts";
import type { Caller } from "../../src/rpc/call.ts";
import type { Http2Connection } from "../../src/rpc/http2.ts";
import { callUnary, pathOf, SERVICE, testServer } from "../rpc/test-server.ts";

const { getSession } = SERVICE.method;

async function callersSeen(call: (path: string, connectHere: () => Promise<unknown>) => Promise<unknown>) {
  const callers: Caller[] = [];
  await using server = await testServer({
    handlers: {
      getSession: (_, { caller }) => {
        callers.push(caller);
        return {};
      },
    },
  });
  await call(server.path, () => callUnary(server.connect(), getSession, {}));
  return callers;
}

describe("peerOf()", () => {
  test("peerOf() is the process that calls", async () => {
    const [caller] = await callersSeen((_, callHere) => callHere());
    const uid = process.getuid?.() ?? -1;
    expect(caller).toEqual({
      actor: `uid:${uid}`,
      process: { pid: process.pid, uid, gid: process.getgid?.() ?? -1 },
    });
  });

  test("peerOf() tells processes apart", async () => {
    let pid = 0;
    const [caller] = await callersSeen(async (path) => {
      const script = `
        import * as grpc from "@grpc/grpc-js";
        const same = (bytes) => bytes;
        const client = new grpc.Client("unix:${path}", grpc.credentials.createInsecure());
        client.makeUnaryRequest("${pathOf(getSession)}", same, same, Buffer.alloc(0), () => client.close());`;
      const child = Bun.spawn(["bun", "-e", script], { cwd: import.meta.dir });
      pid = child.pid;
      await child.exited;
    });
    expect(caller?.process?.pid).toBe(pid);
  });

  test("peerOf() does not know what has no connection or no descriptor", () => {
    expect(peerOf(undefined)).toEqual({ actor: "unknown" });
    // Only `socket` is looked at, and this one never connects.
    const connection = { socket: connect("/nowhere").on("error", () => {}) } as unknown as Http2Connection;
    expect(peerOf(connection)).toEqual({ actor: "unknown" });
  });
});
