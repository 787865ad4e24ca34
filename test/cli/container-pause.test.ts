import { afterAll, beforeAll, expect, test } from "bun:test";
import { type ContainerServer, containerServer } from "../rpc/container-client.ts";
import { baaaht } from "./command-line.ts";

let shared: ContainerServer;

beforeAll(async () => {
  shared = await containerServer();
}, 300_000);
afterAll(() => shared[Symbol.asyncDispose]());

test("container pause and resume say the state, and end with the code of what failed", async () => {
  const ids = [await shared.create(), await shared.create()];
  const run = (...args: string[]) => baaaht(args, { env: { GRPC_SOCKET_PATH: shared.server.socketPath } });
  const paused = await run("container", "pause", ...ids, "-o", "jsonl");
  const states = paused.stdout.trimEnd().split("\n");
  expect(states.map((line) => JSON.parse(line))).toEqual(
    ids.map((containerId) => ({ containerId, state: "CONTAINER_STATE_PAUSED" })),
  );
  const frozen = await run("container", "list", "-q", "--state", "paused");
  expect(frozen.stdout.trimEnd().split("\n").toSorted()).toEqual(ids.toSorted());
  expect((await run("container", "resume", ids[0] ?? "")).stdout).toMatch(/State: +running\n$/);
  expect(await run("container", "stop", ids[1] ?? "", "--grace", "0")).toMatchObject({ exitCode: 0 });
  const refused = await run("container", "resume", ...ids);
  expect(refused).toMatchObject({ exitCode: 19, stdout: expect.stringContaining("running") });
  expect(refused.stderr).toContain(`Cannot resume container "${ids[1]}": it is exited\n`);
}, 60_000);
