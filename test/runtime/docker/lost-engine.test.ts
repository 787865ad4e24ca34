import { beforeAll, expect, test } from "bun:test";
import { connectDocker } from "../../../src/runtime/docker/docker.ts";
import type { Runtime } from "../../../src/runtime/runtime.ts";
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
  "watch() throws UNAVAILABLE when the engine takes connections and answers nothing",
  async () => {
    await using proxied = await proxy();
    const lost = await lostWatch(proxied.runtime, () => proxied.proxy.freeze());
    expect(lost.kind).toBe("unavailable");
    expect(lost.message).toStartWith(
      `Cannot watch containers: the container engine at ${proxied.runtime.endpoint} `,
    );
    expect(lost.message).toContain("has not answered a ping");
  },
  PATIENCE_MS,
);

test("watch() throws UNAVAILABLE when the engine ends", async () => {
  await using proxied = await proxy();
  const lost = await lostWatch(proxied.runtime, () => proxied.proxy.down());
  expect(lost.kind).toBe("unavailable");
});

test(
  "a call that waits for an engine that stopped answering is UNAVAILABLE",
  async () => {
    await using proxied = await proxy();
    await proxied.runtime.info(soon());
    proxied.proxy.freeze();
    const calls = [proxied.runtime.list(LABELS, soon()), proxied.runtime.imageDigest("x", soon())];
    for (const lost of await Promise.all(calls.map(failure))) {
      expect(lost.kind).toBe("unavailable");
      expect(lost.message).toContain("has not answered a ping");
    }
  },
  PATIENCE_MS,
);

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
