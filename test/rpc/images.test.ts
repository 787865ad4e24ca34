import { afterAll, beforeAll, expect, test } from "bun:test";
import { EventType, type PullImageProgress } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { baaaht, reaching, typed } from "../cli/command-line.ts";
import { thrown } from "../client/thrown.ts";
import { engine } from "../engine.ts";
import { openRegistry, type TestRegistry } from "../runtime/docker/registry.ts";
import { type ContainerServer, containerServer, eventOf } from "./container-client.ts";

let shared: ContainerServer;
let registry: TestRegistry;

beforeAll(async () => {
  shared = await containerServer();
  registry = openRegistry();
}, 300_000);

afterAll(async () => {
  await forget();
  registry[Symbol.dispose]();
  await shared[Symbol.asyncDispose]();
});

/** Removes the registry's image from the engine. */
async function forget(): Promise<void> {
  const { socketPath: unix } = await engine();
  await fetch(`http://engine/images/${registry.image}?force=true`, { unix, method: "DELETE" });
}

async function pull(image: string, sessionId = ""): Promise<PullImageProgress[]> {
  const steps: PullImageProgress[] = [];
  for await (const step of shared.client.orchestrator.pullImage({ image, sessionId }, { timeoutMs: 60_000 }))
    steps.push(step);
  return steps;
}

test("PullImage tells how far it is, ends with the digest, and is told in the log", async () => {
  const steps = await pull(registry.image, shared.sessionId);
  expect(steps.find(({ status }) => status === "Pull complete")?.layer).not.toBe("");
  const last = steps.at(-1);
  expect(last?.digest).toMatch(/^sha256:[0-9a-f]{64}$/);
  expect(steps.slice(0, -1).map(({ digest, imageId }) => digest + imageId)).toEqual(
    steps.slice(0, -1).map(() => ""),
  );
  const event = await eventOf(
    shared.client,
    EventType.IMAGE_PULLED,
    ({ data }) => data.image === registry.image,
  );
  expect(event).toMatchObject({
    source: "orchestrator.grpc",
    metadata: { sessionId: shared.sessionId },
    data: { digest: last?.digest, image_id: last?.imageId, changed: "true" },
  });
  const byDigest = await pull(registry.image.replace(/:1$/, `@${last?.digest}`));
  expect(byDigest.at(-1)?.imageId).toBe(last?.imageId ?? "");
});

test("many pulls of one image at once all get it", async () => {
  await forget();
  const all = await Promise.all(Array.from({ length: 5 }, () => pull(registry.image)));
  expect(new Set(all.map((steps) => steps.at(-1)?.imageId)).size).toBe(1);
});

test.each([
  [
    "an image that its registry does not have",
    () => registry.image.replace(/:1$/, ":2"),
    "not_found",
    "IMAGE_NOT_FOUND",
  ],
  [
    "an image of a registry that nobody answers",
    () => "127.0.0.1:1/demo:1",
    "unavailable",
    "REGISTRY_UNAVAILABLE",
  ],
])("PullImage of %s says so", async (_, image, kind, reason) => {
  expect(await thrown(() => pull(image()))).toMatchObject({
    kind,
    details: { reason, metadata: { image: image() } },
  });
});

test.each([
  ["no image", "", "is empty"],
  ["what is no reference", "no image", "is not an image reference"],
  ["a long name", "x".repeat(513), "has 513 characters"],
  ["a digest that is none", "demo@sha256:xyz", "is not a digest"],
  ["capitals, which the engine does not take", "Upper/Case", "is not an image reference"],
])("PullImage of %s is INVALID_ARGUMENT and names image", async (_, image, why) => {
  const { kind, details } = await thrown(() => pull(image));
  expect(kind).toBe("invalid_argument");
  expect(details.violations).toMatchObject([{ field: "image", description: expect.stringContaining(why) }]);
});

test("PullImage heeds the session", async () => {
  const { orchestrator } = shared.client;
  const { sessionId } = await orchestrator.createSession({ config: { allowedImages: ["python:*"] } });
  expect(await thrown(() => pull(registry.image, sessionId))).toMatchObject({
    kind: "permission_denied",
    details: { reason: "POLICY_VIOLATION", violations: [{ field: "image" }] },
  });
  await orchestrator.closeSession({ sessionId });
  expect((await thrown(() => pull(registry.image, sessionId))).details.reason).toBe("SESSION_CLOSED");
  expect((await thrown(() => pull(registry.image, "nobody"))).details.reason).toBe("SESSION_NOT_FOUND");
  const { details } = await thrown(() => pull(registry.image, "\u0001"));
  expect(details.violations).toMatchObject([{ field: "session_id" }]);
});

test("image pull says what it has, draws its progress on a terminal, and ends with the code of a failure", async () => {
  await forget();
  const shell = { server: reaching(shared.server.socketPath) };
  const drawn = await typed(["image", "pull", registry.image], shell, { columns: 80 });
  expect(drawn.exitCode).toBe(0);
  expect(drawn.stderr).toMatch(/[0-9a-f]{12}: Pull complete/);
  expect(drawn.stdout).toMatch(/Digest:.* sha256:[0-9a-f]{64}\n.*Image id:.* sha256:[0-9a-f]{64}\n$/);
  const env = { GRPC_SOCKET_PATH: shared.server.socketPath };
  const piped = await baaaht(["image", "pull", registry.image, "-o", "json"], { env });
  expect(piped).toMatchObject({ exitCode: 0, stderr: "" });
  expect(JSON.parse(piped.stdout)).toMatchObject({ image: registry.image, status: "Pulled" });
  const missing = await baaaht(["image", "pull", registry.image.replace(/:1$/, ":2")], { env });
  expect(missing).toMatchObject({
    exitCode: 15,
    stdout: "",
    stderr: expect.stringContaining("Cannot pull image"),
  });
});
