import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  mkdirSync,
  mkdtempSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EventType, MountType } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { thrown } from "../client/thrown.ts";
import { cleared, engineContainers } from "../daemon/engine-containers.ts";
import { holdEngine } from "../daemon/held-engine.ts";
import { engine, type TestEngine } from "../engine.ts";
import { startServer } from "../server.ts";

/** Somebody puts a link in the place of a folder that a container is to get, after it was checked. */

const SET_UP_MS = 600_000;
const TEST_MS = 60_000;
const FOREVER = ["sleep", "1000"];

let docker: TestEngine;
let folder: string;

beforeAll(async () => {
  docker = await engine();
  folder = realpathSync(mkdtempSync(join(tmpdir(), "baaaht-race-")));
}, SET_UP_MS);
afterAll(() => rmSync(folder, { recursive: true }));

/** An allowed folder with one in it, and how a link to what is outside takes its place. */
function swappable(name: string) {
  const allowed = join(folder, name);
  const source = join(allowed, "in");
  mkdirSync(source, { recursive: true });
  mkdirSync(join(folder, `${name}-out`));
  writeFileSync(join(folder, `${name}-out/secret`), "secret\n");
  const swap = () => {
    renameSync(source, `${source}-before`);
    symlinkSync(join(folder, `${name}-out`), source);
  };
  const policy = { allowVolumeMount: true, allowedPaths: [allowed] };
  return { source, swap, policy, mounts: [{ type: MountType.BIND, source, target: "/m" }] };
}

test.each([
  ["runs on", FOREVER],
  ["has ended by then", ["true"]],
])(
  "a container that has got another folder is removed and refused, and the log has it: one that %s",
  async (_, command) => {
    const { mounts, policy, source, swap } = swappable(command[0] ?? "");
    let sessionId = "";
    await using _cleared = cleared(docker.dockerHost, () => sessionId);
    let swaps = 0;
    await using held = await holdEngine(docker.socketPath, /^POST \S*\/start/, () => {
      swaps += 1;
      if (swaps === 1) swap();
    });
    await using server = await startServer({ dockerHost: held.dockerHost });
    const { orchestrator } = server.client;
    ({ sessionId } = await orchestrator.createSession({ config: { policy } }));
    const config = { image: docker.image, command, mounts };
    const refused = await thrown(() =>
      orchestrator.createContainer({ sessionId, config }, { timeoutMs: TEST_MS }),
    );
    expect(refused).toMatchObject({ kind: "permission_denied", details: { reason: "POLICY_VIOLATION" } });
    expect(refused.message).toContain(source);
    expect(await engineContainers(docker.dockerHost, sessionId)).toEqual([]);
    expect((await orchestrator.getSession({ sessionId })).session?.containerIds).toEqual([]);
    const filter = { sessionId, types: [EventType.POLICY_VIOLATION] };
    for await (const event of orchestrator.subscribeEvents({ fromStart: true, filter })) {
      expect(event.data.field).toBe("config.mounts");
      break;
    }
    // The link is seen when it is there before.
    const later = await thrown(() => orchestrator.createContainer({ sessionId, config }));
    expect(later).toMatchObject({ kind: "permission_denied" });
    expect(later.message).toContain("leads elsewhere");
  },
  TEST_MS,
);

test(
  "a container that gets another folder when the engine starts it again is removed",
  async () => {
    const { mounts, policy, swap } = swappable("again");
    let sessionId = "";
    await using _cleared = cleared(docker.dockerHost, () => sessionId);
    await using server = await startServer({ dockerHost: docker.dockerHost });
    const { orchestrator } = server.client;
    ({ sessionId } = await orchestrator.createSession({ config: { policy } }));
    const command = [
      "sh",
      "-c",
      "until [ -e /m/secret ] || [ -e /m/go ]; do sleep 0.05; done; sleep 1; exit 1",
    ];
    const config = { image: docker.image, command, mounts, restartPolicy: { name: "always" } };
    const { containerId } = await orchestrator.createContainer({ sessionId, config }, { timeoutMs: TEST_MS });
    writeFileSync(join(mounts[0]?.source ?? "", "go"), "");
    swap();
    const types = [EventType.POLICY_VIOLATION, EventType.CONTAINER_ERROR];
    const told: EventType[] = [];
    for await (const { type, metadata } of orchestrator.subscribeEvents({
      fromStart: true,
      filter: { sessionId, types },
    })) {
      expect(metadata?.containerId).toBe(containerId);
      told.push(type);
      if (told.length === 2) break;
    }
    expect(told).toEqual(types);
    expect(await engineContainers(docker.dockerHost, sessionId)).toEqual([]);
  },
  TEST_MS,
);
