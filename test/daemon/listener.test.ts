import { describe, expect, test } from "bun:test";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { connect, createServer as createNetServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as grpc from "@grpc/grpc-js";
import { listen } from "../../src/daemon/listener.ts";
import { addService, createServer, type RpcServer } from "../../src/rpc/adapter.ts";
import { callUnary, endOf, openServerStream, SERVICE, type TestHandlers } from "../rpc/test-server.ts";

const { getSession, copyFromContainer } = SERVICE.method;

function freshPath(): string {
  return join(mkdtempSync(join(tmpdir(), "baaaht-listen-")), "s");
}

function server(handlers: TestHandlers = { getSession: () => ({}) }): RpcServer {
  const rpc = createServer({ report: () => {} });
  addService(rpc, SERVICE, handlers);
  return rpc;
}

function start(path: string, options: { readonly handlers?: TestHandlers; readonly graceMs?: number } = {}) {
  return listen(server(options.handlers), { path, graceMs: options.graceMs ?? 1_000 });
}

async function call(path: string): Promise<void> {
  const client = new grpc.Client(`unix:${path}`, grpc.credentials.createInsecure());
  try {
    await callUnary(client, getSession, {});
  } finally {
    client.close();
  }
}

/** A socket file whose server was killed. */
async function deadSocket(path: string): Promise<void> {
  const script = `require("node:net").createServer().listen(${JSON.stringify(path)}, () => console.log("up"))`;
  const child = Bun.spawn(["bun", "-e", script], { stdout: "pipe" });
  await child.stdout.getReader().read();
  child.kill("SIGKILL");
  await child.exited;
  expect(lstatSync(path).isSocket()).toBe(true);
}

describe("listen()", () => {
  test("listen() serves on a socket that only its owner may open, and takes it away", async () => {
    const path = freshPath();
    {
      await using listener = await start(path);
      expect(listener.path).toBe(path);
      expect(statSync(path).mode & 0o777).toBe(0o600);
      await call(path);
      expect(readdirSync(join(path, ".."))).toEqual(["s"]);
    }
    expect(readdirSync(join(path, ".."))).toEqual([]);
  });

  test("listen() leaves the process's umask as it was", async () => {
    const before = process.umask();
    await using _ = await start(freshPath());
    expect(process.umask()).toBe(before);
  });

  test("listen() replaces the socket of a dead server", async () => {
    const path = freshPath();
    await deadSocket(path);
    await using _ = await start(path);
    await call(path);
  });

  test("listen() replaces what a dead process of the same id left unfinished", async () => {
    const path = freshPath();
    await deadSocket(`${path}.${process.pid}`);
    await using _ = await start(path);
    await call(path);
  });

  test("listen() takes away what dead processes left unfinished, and nothing else", async () => {
    const path = freshPath();
    const dead = Bun.spawn(["true"]);
    await dead.exited;
    await deadSocket(`${path}.${dead.pid}`);
    await deadSocket(`${path}.1`); // a process that lives, and may be about to rename it
    await deadSocket(`${path}.2x`);
    writeFileSync(`${path}.${dead.pid + 1}`, "precious");
    await using _ = await start(path);
    expect(readdirSync(join(path, "..")).sort()).toEqual(["s", "s.1", "s.2x", `s.${dead.pid + 1}`].sort());
  });

  test("listen() does not steal a live server's socket", async () => {
    const path = freshPath();
    await using _ = await start(path);
    await expect(start(path)).rejects.toThrow(`Cannot serve on "${path}": another baaaht serves on it`);
    await call(path);
  });

  test("listen() lets one of many that start at once have a dead server's socket", async () => {
    const path = freshPath();
    await deadSocket(path);
    const results = await Promise.allSettled(Array.from({ length: 5 }, () => start(path)));
    const listeners = results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
    expect(listeners).toHaveLength(1);
    await call(path);
    for (const listener of listeners) await listener[Symbol.asyncDispose]();
  });

  test("listen() takes away only its own socket", async () => {
    const path = freshPath();
    const first = await start(path);
    renameSync(path, `${path}.away`);
    const other = createNetServer().listen(path);
    await once(other, "listening");
    await first[Symbol.asyncDispose]();
    expect(existsSync(path)).toBe(true);
    other.close();
  });

  test.each<[string, (path: string) => void]>([
    ["a file", (path) => writeFileSync(path, "precious")],
    ["a folder", (path) => mkdirSync(path)],
    ["a symbolic link", (path) => symlinkSync("/etc/passwd", path)],
    ["a symbolic link to nothing", (path) => symlinkSync("/nowhere", path)],
  ])("listen() refuses a path where there is %s", async (_, put) => {
    const path = freshPath();
    put(path);
    const before = lstatSync(path);
    await expect(start(path)).rejects.toThrow("which is not a socket");
    expect(lstatSync(path).ino).toBe(before.ino);
    if (before.isFile()) expect(readFileSync(path, "utf8")).toBe("precious");
  });

  test("listen() says how to make the folder that is missing", async () => {
    const path = join(freshPath(), "deeper", "s");
    await expect(start(path)).rejects.toThrow("mkdir -p");
  });

  test("listen() refuses a folder in which anyone may replace the socket", async () => {
    const path = freshPath();
    const folder = join(path, "..");
    chmodSync(folder, 0o777);
    await expect(start(path)).rejects.toThrow(`anyone may replace files in "${folder}"`);
    chmodSync(folder, 0o1777);
    await using _ = await start(path);
    await call(path);
  });

  test("listen() says how long a path may be", async () => {
    const path = freshPath();
    const suffix = `.${process.pid}`.length;
    const longest = path + "x".repeat(107 - suffix - path.length);
    {
      await using _ = await start(longest);
      await call(longest);
    }
    await expect(start(`${longest}x`)).rejects.toThrow(`the path has ${longest.length + 1} bytes`);
  });
});

describe("disposing of a listener", () => {
  const waiting: TestHandlers = {
    copyFromContainer: async function* (_, { signal }) {
      yield {};
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      throw signal.reason;
    },
  };

  test("lets a call in flight finish", async () => {
    const path = freshPath();
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
    const { promise: finished, resolve: finish } = Promise.withResolvers<void>();
    const listener = await start(path, {
      graceMs: 60_000,
      handlers: {
        getSession: async () => {
          begin();
          await finished;
          return {};
        },
      },
    });
    const client = new grpc.Client(`unix:${path}`, grpc.credentials.createInsecure());
    const answer = callUnary(client, getSession, {});
    await begun;
    const disposed = listener[Symbol.asyncDispose]();
    expect(existsSync(path)).toBe(false);
    finish();
    await answer;
    client.close();
    await disposed;
  });

  test("tells open streams", async () => {
    const path = freshPath();
    const listener = await start(path, { handlers: waiting, graceMs: 60_000 });
    const client = new grpc.Client(`unix:${path}`, grpc.credentials.createInsecure());
    const stream = openServerStream(client, copyFromContainer);
    await once(stream, "data");
    const end = endOf(stream);
    await listener[Symbol.asyncDispose]();
    expect((await end).code).toBe(grpc.status.UNAVAILABLE);
    client.close();
  });

  test("does not wait for a connection that says nothing longer than the grace", async () => {
    const path = freshPath();
    const listener = await start(path, { graceMs: 50 });
    const socket = connect(path);
    await once(socket, "connect");
    const closed = once(socket, "close");
    socket.resume();
    await listener[Symbol.asyncDispose]();
    await closed;
  });
});
