import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type CompiledServer, startCompiledServer } from "./compiled-server.ts";
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

/**
 * Writes what protoc makes of the API as it was: packages and imports without `proto`, and nothing with a number from
 * 100 up.
 */
async function generateOlderStubs(into: string): Promise<void> {
  const root = join(import.meta.dir, "../..");
  const sources = join(into, "sources");
  const paths = ["common/v1/common.proto", "orchestrator/v1/orchestrator.proto"];
  for (const path of paths) {
    const older = readFileSync(join(root, "proto", path), "utf8")
      .replace(/^package proto\./m, "package ")
      .replace(/^import "proto\//gm, 'import "')
      .replaceAll("proto.common.v1.", "common.v1.")
      .replace(/^ +[\w.<>, ]+ = 1\d\d( \[.*\])?;\n/gm, "")
      // What has lost all of its fields.
      .replace(/^ +oneof \w+ \{\n( *\/\/.*\n)* *\}\n/gm, "");
    mkdirSync(dirname(join(sources, path)), { recursive: true });
    writeFileSync(join(sources, path), older);
  }
  const out = [`--python_out=${into}`, `--grpc_python_out=${into}`];
  await succeed([programs.python, "-m", "grpc_tools.protoc", `-I${sources}`, ...out, ...paths], {
    cwd: into,
  });
  if (!readdirSync(into).includes("orchestrator")) throw new Error("protoc has written no stubs");
}
