import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { engine, type TestEngine } from "../engine.ts";
import { startServer } from "../server.ts";
import { cleared } from "./engine-containers.ts";
import { holdEngine } from "./held-engine.ts";

const folder = mkdtempSync(join(tmpdir(), "baaaht-signals-"));
afterAll(() => rmSync(folder, { recursive: true }));

const SET_UP_MS = 300_000;
const ENGINE_TEST_MS = 60_000;

describe("a second signal", () => {
  let docker: TestEngine;
  beforeAll(async () => {
    docker = await engine();
  }, SET_UP_MS);

  test.each([
    ["SIGTERM", 143],
    ["SIGINT", 130],
  ] as const)(
    "%s ends the server at once, with %d",
    async (signal, exitCode) => {
      const { dockerHost, image, socketPath } = docker;
      let sessionId = "";
      await using _cleared = cleared(dockerHost, () => sessionId);
      // Neither the start nor the removal that undoes it is ever answered, so stopping takes its time.
      await using held = await holdEngine(socketPath, /^(POST \S*\/start|DELETE )/);
      await using server = await startServer({
        dockerHost: held.dockerHost,
        flags: ["--shutdown-timeout", "1h"],
      });
      ({ sessionId } = await server.client.orchestrator.createSession({}));
      const config = { image, command: ["sleep", "1000"] };
      server.client.orchestrator.createContainer({ sessionId, config }).catch(() => {});
      await held.held;
      process.kill(server.pid, "SIGTERM");
      await server.logged('"stopping"');
      process.kill(server.pid, signal);
      expect(await server.exited).toBe(exitCode);
    },
    ENGINE_TEST_MS,
  );
});

describe("SIGHUP", () => {
  test("reads the log level again, and the server goes on", async () => {
    const config = join(folder, "level.toml");
    writeFileSync(config, '[log]\nlevel = "error"\n');
    await using server = await startServer({ flags: ["--config", config] });
    writeFileSync(config, '[log]\nlevel = "info"\n');
    process.kill(server.pid, "SIGHUP");
    await server.logged('"configuration read again"');
    expect(server.logs()).toContain("log.level");
    await server.client.orchestrator.createSession({});
    expect(await server.stop()).toBe(0);
  });

  test("says that it was read also to who asks for fewer lines from then on", async () => {
    const config = join(folder, "fewer.toml");
    writeFileSync(config, "");
    await using server = await startServer({ flags: ["--config", config] });
    writeFileSync(config, '[log]\nlevel = "error"\n[sessions]\nmax-sessions = 7\n');
    process.kill(server.pid, "SIGHUP");
    await server.logged('"configuration read again"');
    await server.logged("waits for the next start");
    expect(await server.stop()).toBe(0);
    expect(server.logs()).not.toContain('"stopping"');
  });

  test("says of a changed setting that it waits for the next start", async () => {
    const config = join(folder, "deferred.toml");
    writeFileSync(config, "");
    await using server = await startServer({ flags: ["--config", config] });
    writeFileSync(config, "[sessions]\nmax-sessions = 7\n");
    process.kill(server.pid, "SIGHUP");
    await server.logged("waits for the next start");
    expect(server.logs()).toContain("sessions.max-sessions");
  });

  test("with a wrong configuration changes nothing", async () => {
    const config = join(folder, "wrong.toml");
    writeFileSync(config, "");
    await using server = await startServer({ flags: ["--config", config] });
    writeFileSync(config, '[log]\nlevel = "loud"\n');
    process.kill(server.pid, "SIGHUP");
    await server.logged("the one before stays in force");
    expect(server.logs()).toContain('log.level is \\"loud\\"');
    expect(server.logs()).not.toContain("    at "); // a stack is for defects
    await server.client.orchestrator.createSession({});
    expect(await server.stop()).toBe(0);
  });
});
