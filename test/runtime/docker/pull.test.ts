import { afterAll, beforeAll, expect, test } from "bun:test";
import { connectDocker } from "../../../src/runtime/docker/docker.ts";
import type { Runtime } from "../../../src/runtime/runtime.ts";
import { all, failure, SET_UP_MS, soon } from "../../contract/runtime-subject.ts";
import { engine } from "../../engine.ts";
import { openRegistry, type TestRegistry } from "./registry.ts";

let runtime: Runtime;
let registry: TestRegistry;

beforeAll(async () => {
  const { dockerHost } = await engine();
  runtime = connectDocker({ dockerHost });
  registry = openRegistry();
}, SET_UP_MS);

afterAll(async () => {
  registry[Symbol.dispose]();
  const { socketPath: unix } = await engine();
  await fetch(`http://engine/images/${registry.image}?force=true`, { unix, method: "DELETE" });
  await runtime[Symbol.asyncDispose]();
});

test("pull() of an image that a registry has makes it local, with its progress and digest", async () => {
  expect(await runtime.imageDigest(registry.image, soon())).toBeUndefined();
  const steps = await all(runtime.pull(registry.image, soon()));
  expect(steps.map(({ status }) => status)).toContain("Pull complete");
  const counted = steps.filter(({ totalBytes }) => totalBytes > 0);
  expect(
    counted.every(({ layer, currentBytes, totalBytes }) => layer !== "" && currentBytes <= totalBytes),
  ).toBe(true);
  expect(steps.find(({ digest }) => digest !== undefined)?.digest).toMatch(/^sha256:[0-9a-f]{64}$/);
  expect(await runtime.imageDigest(registry.image, soon())).toMatch(/^sha256:[0-9a-f]{64}$/);
});

test("pull() by digest gives the same image", async () => {
  const steps = await all(runtime.pull(registry.image, soon()));
  const digest = steps.find((step) => step.digest !== undefined)?.digest ?? "";
  const byDigest = `${registry.image.replace(/:1$/, "")}@${digest}`;
  await all(runtime.pull(byDigest, soon()));
  expect(await runtime.imageDigest(byDigest, soon())).toBe(await runtime.imageDigest(registry.image, soon()));
});

test("pull() of an image that the registry does not have is NOT_FOUND", async () => {
  for (const image of [registry.image.replace(/:1$/, ":2"), registry.image.replace("demo:1", "other")]) {
    const missing = await failure(all(runtime.pull(image, soon())));
    expect(missing.message).toStartWith(`Cannot pull image "${image}": `);
    expect(missing.kind).toBe("not_found");
  }
});

test("pull() from a registry that nobody answers is UNAVAILABLE with the engine's words", async () => {
  const silent = await failure(all(runtime.pull("127.0.0.1:1/demo:1", soon())));
  expect(silent.kind).toBe("unavailable");
  expect(silent.message).toContain("connection refused");
});
