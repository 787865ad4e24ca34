import { expect, test } from "bun:test";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findEndpoint } from "../../../src/runtime/docker/endpoint.ts";

const folder = (): string => mkdtempSync(join(tmpdir(), "baaaht-endpoint-"));

test("findEndpoint() takes the given host before DOCKER_HOST before a socket that is there", () => {
  const home = folder();
  mkdirSync(join(home, ".docker/run"), { recursive: true });
  writeFileSync(join(home, ".docker/run/docker.sock"), "");
  const env = { HOME: home, DOCKER_HOST: "unix:///from/env.sock" };
  expect(findEndpoint({ dockerHost: "unix:///given.sock", env })).toEqual({
    kind: "unix",
    name: "unix:///given.sock",
    socketPath: "/given.sock",
  });
  expect(findEndpoint({ dockerHost: "", env }).name).toBe("unix:///from/env.sock");
});

test("findEndpoint() finds a rootless engine's socket where the system has none", () => {
  const runtimeDir = folder();
  writeFileSync(join(runtimeDir, "docker.sock"), "");
  const { name } = findEndpoint({ env: { XDG_RUNTIME_DIR: runtimeDir, HOME: folder() } });
  expect([`unix://${runtimeDir}/docker.sock`, "unix:///var/run/docker.sock"]).toContain(name);
});

test("findEndpoint() without any names the system's socket", () => {
  const { name } = findEndpoint({ env: { HOME: folder() } });
  expect(["unix:///run/podman/podman.sock", "unix:///var/run/docker.sock"]).toContain(name);
});

test("findEndpoint() finds Podman's sockets after Docker's", () => {
  const runtimeDir = folder();
  mkdirSync(join(runtimeDir, "podman"));
  writeFileSync(join(runtimeDir, "podman/podman.sock"), "");
  const found = (): string => findEndpoint({ env: { XDG_RUNTIME_DIR: runtimeDir, HOME: folder() } }).name;
  const ofTheSystem = ["/var/run/docker.sock", "/run/podman/podman.sock"].find((path) => existsSync(path));
  expect(found()).toBe(`unix://${ofTheSystem ?? join(runtimeDir, "podman/podman.sock")}`);
  writeFileSync(join(runtimeDir, "docker.sock"), "");
  const docker = existsSync("/var/run/docker.sock") ? "/var/run/docker.sock" : `${runtimeDir}/docker.sock`;
  expect(found()).toBe(`unix://${docker}`);
});

test("findEndpoint() reads tcp hosts with Docker's own ports", () => {
  const at = (dockerHost: string, env: Record<string, string> = {}): object =>
    findEndpoint({ dockerHost, env });
  expect(at("tcp://engine.example")).toMatchObject({
    kind: "tcp",
    host: "engine.example",
    port: 2375,
    pathPrefix: "",
  });
  expect(at("tcp://[::1]:80/docker/")).toMatchObject({ host: "::1", port: 80, pathPrefix: "/docker" });
  expect(at("engine.example:1234")).toMatchObject({ host: "engine.example", port: 1234 });
  expect(at("http://engine.example:443", { DOCKER_TLS_VERIFY: "1" })).not.toHaveProperty("tls");
  expect(at("tcp://engine.example", { DOCKER_TLS_VERIFY: "1", HOME: folder() })).toMatchObject({
    port: 2376,
    tls: { verify: true },
  });
});

test("findEndpoint() reads DOCKER_CERT_PATH, and checks the engine only with DOCKER_TLS_VERIFY", () => {
  const certificates = folder();
  for (const name of ["ca", "cert", "key"]) writeFileSync(join(certificates, `${name}.pem`), `the ${name}`);
  const env = { DOCKER_CERT_PATH: certificates };
  const files = { ca: "the ca", cert: "the cert", key: "the key" };
  expect(findEndpoint({ dockerHost: "tcp://e:1", env })).toMatchObject({ tls: { ...files, verify: false } });
  const checked = findEndpoint({ dockerHost: "tcp://e:1", env: { ...env, DOCKER_TLS_VERIFY: "1" } });
  expect(checked).toMatchObject({ tls: { ...files, verify: true } });
});

test("findEndpoint() says which certificate is missing or can't be read", () => {
  const certificates = folder();
  const env = { DOCKER_CERT_PATH: certificates };
  expect(() => findEndpoint({ dockerHost: "tcp://e:1", env })).toThrow(
    /"tcp:\/\/e:1": DOCKER_CERT_PATH is .*ca\.pem/,
  );
  mkdirSync(join(certificates, "ca.pem"));
  chmodSync(join(certificates, "ca.pem"), 0o000);
  expect(() => findEndpoint({ dockerHost: "tcp://e:1", env })).toThrow(/ca\.pem" can't be read/);
});

test("findEndpoint() refuses what it does not speak, with a way out", () => {
  const refusal = (dockerHost: string) => () => findEndpoint({ dockerHost, env: {} });
  expect(refusal("ssh://me@engine")).toThrow(/Cannot use container engine "ssh:\/\/me@engine": .*ssh -L/);
  expect(refusal("npipe:////./pipe/docker")).toThrow(/only unix:\/\/, tcp:\/\//);
  expect(refusal("tcp://")).toThrow(/is not a URL/);
});
