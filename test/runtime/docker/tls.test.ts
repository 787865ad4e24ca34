import { afterAll, beforeAll, expect, test } from "bun:test";
import { createServer } from "node:net";
import { ensureImage } from "../../../scripts/image.ts";
import { type OwnEngine, startOwnEngine } from "../../../scripts/own-engine.ts";
import { toStderr } from "../../../scripts/progress.ts";
import { tlsDocker } from "../../../scripts/tls-docker.ts";
import { connectDocker } from "../../../src/runtime/docker/docker.ts";
import type { Runtime } from "../../../src/runtime/runtime.ts";
import { runtimeContract } from "../../contract/runtime.ts";
import { failure, SET_UP_MS, soon } from "../../contract/runtime-subject.ts";
import { type Certificates, makeCertificates } from "./certificates.ts";

let certificates: Certificates | undefined;
/** Kept from the first moment, so that it is ended also when it did not come up in time. */
let starting: Promise<OwnEngine> | undefined;
let clientFolder = "";
let dockerHost = "";
let image = "";

beforeAll(async () => {
  certificates = await makeCertificates();
  clientFolder = certificates.clientFolder;
  const port = await freePort();
  starting = startOwnEngine(tlsDocker(port, certificates.server), toStderr);
  const docker = await starting;
  image = await ensureImage(docker.dockerHost, "busybox", toStderr);
  dockerHost = `tcp://127.0.0.1:${port}`;
}, SET_UP_MS);

afterAll(async () => {
  await certificates?.[Symbol.asyncDispose]();
  await (await starting)?.[Symbol.asyncDispose]();
}, SET_UP_MS);

runtimeContract("connectDocker() over TLS", async () => ({
  runtime: over({ DOCKER_CERT_PATH: clientFolder, DOCKER_TLS_VERIFY: "1" }),
  image,
}));

function over(env: Record<string, string>): Runtime {
  return connectDocker({ dockerHost, env });
}

test("connectDocker() with DOCKER_TLS_VERIFY refuses an engine of another authority", async () => {
  await using other = await makeCertificates();
  await using runtime = over({ DOCKER_CERT_PATH: other.clientFolder, DOCKER_TLS_VERIFY: "1" });
  const refused = await failure(runtime.info(soon()));
  expect(refused.kind).toBe("unavailable");
  expect(refused.message).toMatch(/certificate/i);
});

test("connectDocker() without DOCKER_TLS_VERIFY does not check the engine, as Docker's own client", async () => {
  await using runtime = over({ DOCKER_CERT_PATH: clientFolder });
  expect((await runtime.info(soon())).name).not.toBe("");
});

test("connectDocker() without a certificate is refused by an engine that wants one", async () => {
  await using runtime = connectDocker({
    dockerHost: dockerHost.replace("tcp:", "https:"),
    env: { HOME: "/nowhere" },
  });
  expect((await failure(runtime.info(soon()))).kind).toBe("unavailable");
  await using plain = connectDocker({ dockerHost, env: {} });
  const unencrypted = await failure(plain.info(soon()));
  expect(unencrypted.kind).toBe("unavailable");
  expect(unencrypted.message).toEndWith("can't be used: it takes TLS alone: set DOCKER_TLS_VERIFY");
});

/** One that nobody had a moment ago: an engine takes no 0. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (typeof address !== "object" || address === null) throw new Error("the server has no port");
  return address.port;
}
