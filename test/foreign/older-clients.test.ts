import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type CompiledServer, startCompiledServer } from "./compiled-server.ts";
import { generateOlderStubs } from "./older-stubs.ts";
import { programs, succeed } from "./programs.ts";

const SET_UP_TIMEOUT_MS = 300_000;
const RUN_TIMEOUT_MS = 60_000;

let server: CompiledServer;
let folder: string;

beforeAll(async () => {
  server = await startCompiledServer();
  folder = mkdtempSync(join(tmpdir(), "baaaht-older-"));
  await generateOlderStubs(folder);
}, SET_UP_TIMEOUT_MS);

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

test(
  "a client built from older sources does all it could do",
  async () => {
    const script = join(import.meta.dir, "older_client.py");
    const env = { PYTHONPATH: folder };
    const got = JSON.parse(
      await succeed([programs.python, script, server.socketPath, server.image], { cwd: folder, env }),
    );
    expect(got).toMatchObject({
      container: {
        state: "CONTAINER_STATE_RUNNING",
        status: "STATUS_RUNNING",
        // Its own and its session's.
        config: { resourceLimits: { nanoCpu: "500000000", pidsLimit: "64" } },
      },
      messages: ["hello"],
      containerIds: true,
      closed: "SESSION_STATE_CLOSED",
      failed: "NOT_FOUND",
      health: { health: "HEALTH_HEALTHY" },
    });
    expect(got.events).toEqual([
      "EVENT_TYPE_CONTAINER_CREATED",
      "EVENT_TYPE_CONTAINER_STARTED",
      101, // a type that it does not know
      "EVENT_TYPE_CONTAINER_STOPPED",
      "EVENT_TYPE_CONTAINER_REMOVED",
      "EVENT_TYPE_SESSION_CLOSED",
    ]);
  },
  RUN_TIMEOUT_MS,
);
