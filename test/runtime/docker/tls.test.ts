import { afterAll, beforeAll, expect, test } from "bun:test";
import { connect } from "node:net";
import { createServer, type Server } from "node:tls";
import { connectDocker } from "../../../src/runtime/docker/docker.ts";
import type { Runtime } from "../../../src/runtime/runtime.ts";
import { failure, finish, SET_UP_MS, Subject, soon } from "../../contract/runtime-subject.ts";
import { engine } from "../../engine.ts";
import { type Certificates, makeCertificates } from "./certificates.ts";

let certificates: Certificates;
let server: Server;
let dockerHost = "";

const subject = new Subject(async () => {
  const { image, socketPath } = await engine();
  certificates = await makeCertificates();
  server = createServer(
    { ...certificates.server, requestCert: true, rejectUnauthorized: true, allowHalfOpen: true },
    (client) => {
      const upstream = connect({ path: socketPath, allowHalfOpen: true });
      for (const socket of [client, upstream]) socket.on("error", () => {});
      client.pipe(upstream).pipe(client);
    },
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("the server has no port");
  dockerHost = `tcp://127.0.0.1:${address.port}`;
  return { runtime: over({ DOCKER_CERT_PATH: certificates.clientFolder, DOCKER_TLS_VERIFY: "1" }), image };
});

beforeAll(() => {}, SET_UP_MS);
afterAll(() => {
  server.close();
});

function over(env: Record<string, string>): Runtime {
  return connectDocker({ dockerHost, env });
}

test("connectDocker() over TLS runs commands with their stdin", async () => {
  const id = await subject.started(subject.script("while :; do sleep 1; done"));
  await using exec = await subject.exec(id, ["cat"], { stdin: true });
  await exec.write(Buffer.from("through tls"), soon());
  await exec.closeStdin();
  expect(await finish(exec)).toEqual({
    stdout: "through tls",
    stderr: "",
    outcome: { kind: "exited", code: 0 },
  });
});

test("connectDocker() with DOCKER_TLS_VERIFY refuses an engine of another authority", async () => {
  const other = await makeCertificates();
  await using runtime = over({ DOCKER_CERT_PATH: other.clientFolder, DOCKER_TLS_VERIFY: "1" });
  const refused = await failure(runtime.info(soon()));
  expect(refused.kind).toBe("unavailable");
  expect(refused.message).toMatch(/certificate/i);
});

test("connectDocker() without DOCKER_TLS_VERIFY does not check the engine, as Docker's own client", async () => {
  await using runtime = over({ DOCKER_CERT_PATH: certificates.clientFolder });
  expect((await runtime.info(soon())).name).not.toBe("");
});

test("connectDocker() without a certificate is refused by an engine that wants one", async () => {
  await using runtime = connectDocker({
    dockerHost: dockerHost.replace("tcp:", "https:"),
    env: { HOME: "/nowhere" },
  });
  expect((await failure(runtime.info(soon()))).kind).toBe("unavailable");
  await using plain = connectDocker({ dockerHost, env: {} });
  expect((await failure(plain.info(soon()))).kind).toBe("unavailable");
});
