import { expect, test } from "bun:test";
import { connectDocker } from "../../../src/runtime/docker/docker.ts";
import type { OutputChunk, RuntimeId } from "../../../src/runtime/runtime.ts";
import { all, failure, soon, text } from "../../contract/runtime-subject.ts";
import { type StubAnswer, stubEngine } from "./stub-engine.ts";

// as: an id of the right form
const ID = "a".repeat(64) as RuntimeId;
const FRAMED = Buffer.from([2, 0, 0, 0, 0, 0, 0, 3, ...Buffer.from("err")]);
const CONTAINER = `/containers/${ID}`;

async function logs(answers: Record<string, StubAnswer>): Promise<OutputChunk[]> {
  await using stub = await stubEngine(answers);
  await using runtime = connectDocker({ dockerHost: stub.dockerHost });
  const options = { follow: false, timestamps: false, stdout: true, stderr: true };
  return await all(runtime.logs(ID, options, soon()));
}

test("logs() believes an engine that says what its stream is made of", async () => {
  const multiplexed = { "content-type": "application/vnd.docker.multiplexed-stream" };
  const [chunk] = await logs({ [`${CONTAINER}/logs`]: { headers: multiplexed, body: FRAMED } });
  expect(chunk).toMatchObject({ stream: "stderr" });
  const raw = { "content-type": "application/vnd.docker.raw-stream", "api-version": "1.44" };
  expect(text(await logs({ [`${CONTAINER}/logs`]: { headers: raw, body: "as it is" } }))).toBe("as it is");
});

test("logs() asks an engine that calls every stream raw", async () => {
  const headers = { "content-type": "application/vnd.docker.raw-stream", "api-version": "1.41" };
  const inspected = (Tty: boolean): StubAnswer => ({ body: JSON.stringify({ Config: { Tty } }) });
  const log = { headers, body: FRAMED };
  const [framed] = await logs({ [`${CONTAINER}/logs`]: log, [`${CONTAINER}/json`]: inspected(false) });
  expect(framed).toMatchObject({ stream: "stderr" });
  const [terminal] = await logs({ [`${CONTAINER}/logs`]: log, [`${CONTAINER}/json`]: inspected(true) });
  expect(terminal).toMatchObject({ stream: "stdout" });
});

test("an answer that is not understood is UNAVAILABLE and says which part", async () => {
  await using stub = await stubEngine({
    [`${CONTAINER}/json`]: { body: '{"Id":1}' },
    "/_ping": { body: "OK" },
  });
  await using runtime = connectDocker({ dockerHost: stub.dockerHost });
  const odd = await failure(runtime.inspect(ID, soon()));
  expect(odd.kind).toBe("unavailable");
  expect(odd.message).toContain("it answered in a form that is not known: Id: ");
});

test("info() knows Podman by its answer to a ping", async () => {
  await using stub = await stubEngine({
    "/info": {
      body: '{"ID":"x","Name":"host","DockerRootDir":"/storage","NCPU":2,"MemTotal":1024}',
    },
    "/version": { body: '{"Version":"4.3.1","ApiVersion":"1.41"}' },
    "/_ping": { headers: { server: "Libpod/4.3.1 (linux)" }, body: "OK" },
  });
  await using runtime = connectDocker({ dockerHost: stub.dockerHost });
  expect(await runtime.info(soon())).toEqual({
    name: "podman",
    version: "4.3.1",
    apiVersion: "1.41",
    engineId: "host:/storage",
    cpus: 2,
    memoryBytes: 1024,
    capabilities: { logTimeMs: 1000, keepsStartError: false, tellsOom: false, copiesLinks: false },
  });
});

test("stop() and remove() thaw a container first where the engine wants that", async () => {
  let frozen = true;
  const refusal = {
    status: 500,
    body: '{"message":"can only stop running containers: it is in state paused"}',
  };
  const unlessFrozen = (): StubAnswer => (frozen ? refusal : { status: 204, body: "" });
  const thaw = (): StubAnswer => {
    frozen = false;
    return { status: 204, body: "" };
  };
  await using stub = await stubEngine({
    [CONTAINER]: unlessFrozen,
    [`${CONTAINER}/stop`]: unlessFrozen,
    [`${CONTAINER}/unpause`]: thaw,
  });
  await using runtime = connectDocker({ dockerHost: stub.dockerHost });
  await runtime.stop(ID, { graceMs: 0 }, soon());
  expect(frozen).toBe(false);
  frozen = true;
  await runtime.remove(ID, soon());
  expect(frozen).toBe(false);
});

test("remove() removes a container itself when another removal of it does not come to an end", async () => {
  let asked = 0;
  await using stub = await stubEngine({
    "/_ping": { body: "OK" },
    [`${CONTAINER}/wait`]: "never",
    [CONTAINER]: () => {
      asked += 1;
      const message = `removal of container ${ID} is already in progress`;
      return asked === 1 ? { status: 409, body: JSON.stringify({ message }) } : { status: 204, body: "" };
    },
  });
  await using runtime = connectDocker({ dockerHost: stub.dockerHost });
  await runtime.remove(ID, soon());
  expect(asked).toBe(2);
});
