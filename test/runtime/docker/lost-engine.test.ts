import { beforeAll, expect, test } from "bun:test";
import { existsSync, mkdirSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { connectDocker } from "../../../src/runtime/docker/docker.ts";
import type { Runtime, RuntimeId } from "../../../src/runtime/runtime.ts";
import { failure, SET_UP_MS, soon } from "../../contract/runtime-subject.ts";
import { engine } from "../../engine.ts";
import { EngineProxy } from "./engine-proxy.ts";

const LABELS = { "contract.run": "nobody" };
/** Silence is noticed within two pings; the rest is for a machine that is busy. */
const PATIENCE_MS = 30_000;

beforeAll(async () => {
  await engine();
}, SET_UP_MS);

test(
  "an engine that takes connections and answers nothing is UNAVAILABLE, for watch() and for each call in its words",
  async () => {
    await using proxied = await proxy();
    const { runtime } = proxied;
    const watch = runtime.watch(LABELS, soon())[Symbol.asyncIterator]();
    await watch.next();
    proxied.proxy.freeze();
    const waits = {
      "watch containers": failure(watch.next()),
      "list containers": failure(runtime.list(LABELS, soon())),
      'inspect image "x"': failure(runtime.imageDigest("x", soon())),
    };
    for (const [doing, wait] of Object.entries(waits)) {
      const lost = await wait;
      expect(lost.kind).toBe("unavailable");
      expect(lost.message).toBe(
        `Cannot ${doing}: the container engine at ${runtime.endpoint} can't be used: it has not answered a ping for 2.5 s`,
      );
    }
  },
  PATIENCE_MS,
);

test("an answer whose connection is torn in the middle is UNAVAILABLE, good or bad, and holds nobody up", async () => {
  await using proxied = await proxy();
  const { proxy: torn, runtime } = proxied;
  const id = "0".repeat(64) as RuntimeId; // of no container
  await runtime.info(soon());
  torn.rules = { onRequest: ({ route }) => ({ kind: route === "/_ping" ? "pass" : "torn" }) };
  for (const call of [
    () => runtime.info(soon()),
    () => runtime.inspect(id, soon()),
    () => runtime.stop(id, { graceMs: 1_000 }, soon()),
  ]) {
    const lost = await failure(call());
    expect([lost.kind, lost.details.reason]).toEqual(["unavailable", "RUNTIME_UNAVAILABLE"]);
  }
  torn.rules = {};
  expect(await runtime.inspect(id, soon())).toBe(undefined);
});

test("a container is gone only when an engine says so, and not when something else answers 404 in its place", async () => {
  await using proxied = await proxy();
  const { runtime } = proxied;
  const id = "0".repeat(64) as RuntimeId; // of no container
  expect(await runtime.inspect(id, soon())).toBe(undefined);
  await runtime.remove(id, soon());
  for (const message of ["page not found", "Not Found"]) {
    proxied.proxy.rules = { onRequest: () => ({ kind: "answer", status: 404, body: { message } }) };
    expect((await failure(runtime.inspect(id, soon()))).kind).toBe("unavailable");
    expect((await failure(runtime.remove(id, soon()))).kind).toBe("unavailable");
  }
});

test("watch() throws UNAVAILABLE when the engine ends", async () => {
  await using proxied = await proxy();
  const lost = await lostWatch(proxied.runtime, () => proxied.proxy.down());
  expect(lost.kind).toBe("unavailable");
});

test("calls succeed again by themselves when the engine is back", async () => {
  await using proxied = await proxy();
  const { runtime } = proxied;
  const info = await runtime.info(soon());
  await proxied.proxy.down();
  expect((await failure(runtime.info(soon()))).message).toContain("there is no such socket (ENOENT)");
  await proxied.proxy.up();
  expect(await runtime.info(soon())).toEqual(info);
});

test("an endpoint where nothing listens is UNAVAILABLE for every call", async () => {
  await using runtime = connectDocker({ dockerHost: "tcp://127.0.0.1:1" });
  const calls = [
    runtime.info(soon()),
    runtime.list(LABELS, soon()),
    runtime.watch(LABELS, soon())[Symbol.asyncIterator]().next(),
    runtime.pull("x", soon())[Symbol.asyncIterator]().next(),
  ];
  for (const { kind, message } of await Promise.all(calls.map(failure))) {
    expect(kind).toBe("unavailable");
    expect(message).toContain("tcp://127.0.0.1:1 can't be used: nothing listens there (ECONNREFUSED)");
  }
});

test("disposing gives back every connection and ends what streams", async () => {
  await using proxied = await proxy();
  const { runtime } = proxied;
  const watch = runtime.watch(LABELS, soon());
  await watch[Symbol.asyncIterator]().next();
  await runtime.info(soon());
  expect(proxied.proxy.connections).toBeGreaterThan(0);
  const ended = failure(watch[Symbol.asyncIterator]().next());
  await runtime[Symbol.asyncDispose]();
  expect((await ended).kind).toBe("unavailable");
  await proxied.proxy.untilUnused();
});

interface Proxied extends AsyncDisposable {
  readonly proxy: EngineProxy;
  readonly runtime: Runtime;
}

async function proxy(): Promise<Proxied> {
  const { socketPath } = await engine();
  const proxy = new EngineProxy(socketPath);
  await proxy.up();
  const runtime = connectDocker({ dockerHost: proxy.dockerHost });
  return {
    proxy,
    runtime,
    [Symbol.asyncDispose]: async () => {
      await runtime[Symbol.asyncDispose]();
      await proxy[Symbol.asyncDispose]();
    },
  };
}

async function lostWatch(runtime: Runtime, lose: () => void | Promise<void>) {
  const watch = runtime.watch(LABELS, soon())[Symbol.asyncIterator]();
  await watch.next();
  const lost = failure(watch.next());
  await lose();
  return await lost;
}

test("an engine that starts later at another usual place is found", async () => {
  const { socketPath } = await engine();
  if (existsSync("/var/run/docker.sock")) return;
  await using proxy = new EngineProxy(socketPath);
  const env = { XDG_RUNTIME_DIR: dirname(proxy.path), HOME: "/nowhere" };
  await using runtime = connectDocker({ env });
  expect((await failure(runtime.info(soon()))).message).toContain("/var/run/docker.sock");
  await proxy.up();
  expect((await runtime.info(soon())).name).not.toBe("");
  expect(runtime.endpoint).toBe(proxy.dockerHost);
});

test("an engine that has answered is waited for, and none at another usual place taken for it", async () => {
  const { socketPath } = await engine();
  if (existsSync("/var/run/docker.sock")) return;
  await using proxy = new EngineProxy(socketPath);
  await using other = new EngineProxy(socketPath);
  const folder = dirname(proxy.path);
  mkdirSync(join(folder, "podman"));
  symlinkSync(other.path, join(folder, "podman", "podman.sock"));
  await proxy.up();
  await using runtime = connectDocker({ env: { XDG_RUNTIME_DIR: folder, HOME: "/nowhere" } });
  await runtime.info(soon());
  await proxy.down();
  await other.up();
  // The first call may find its connection broken, and not look where the engine is.
  for (let call = 0; call < 3; call++) expect((await failure(runtime.info(soon()))).kind).toBe("unavailable");
  expect(runtime.endpoint).toBe(proxy.dockerHost);
  await proxy.up();
  expect((await runtime.info(soon())).name).not.toBe("");
});
