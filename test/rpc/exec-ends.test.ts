import { afterAll, beforeAll, expect, test } from "bun:test";
import { callEngine } from "../../scripts/engine-api.ts";
import { EventType, type ExecEnd } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { engine } from "../engine.ts";
import { type ContainerServer, containerServer, type ExecFrame, eventOf, exec } from "./container-client.ts";

/** What the end of the container, by whom or what ever, makes of a command in it: on the real engine, that is. */

/** Says that it runs, and runs until it is ended. */
const ENDLESS = ["sh", "-c", "echo on; while :; do sleep 0.05; done"];

let shared: ContainerServer;

beforeAll(async () => {
  await engine();
  shared = await containerServer();
}, 300_000);
afterAll(() => shared[Symbol.asyncDispose]());

interface Way {
  readonly does: (at: { readonly containerId: string; readonly engineId: string }) => Promise<unknown>;
  readonly how: "cancelled" | "unknown";
  readonly reason: RegExp;
}

const orchestrator = () => shared.client.orchestrator;
const SLOW = { timeoutMs: 30_000 };
const post = (path: string) => callEngine(shared.dockerHost, path, { method: "POST" });

const WAYS: Readonly<Record<string, Way>> = {
  "a call that stops its container": {
    does: ({ containerId }) => orchestrator().stopContainer({ containerId }, SLOW),
    how: "cancelled",
    reason: /its container was ended: it was stopped by a call/,
  },
  "a call that removes its container": {
    does: ({ containerId }) => orchestrator().removeContainer({ containerId, force: true }, SLOW),
    how: "cancelled",
    reason: /its container was ended: it was removed by a call/,
  },
  "somebody who stops its container in the engine": {
    does: ({ engineId }) => post(`/containers/${engineId}/stop?t=0`),
    how: "unknown",
    reason: /its container ended under it: its main process has ended with \d+/,
  },
  "somebody who kills its container in the engine": {
    does: ({ engineId }) => post(`/containers/${engineId}/kill`),
    how: "unknown",
    reason: /its container ended under it: its main process has ended with 137/,
  },
  "somebody who removes its container in the engine": {
    does: ({ engineId }) =>
      callEngine(shared.dockerHost, `/containers/${engineId}?force=1`, { method: "DELETE" }),
    how: "unknown",
    reason: /container (was removed|ended|is gone)/,
  },
  "somebody who restarts its container in the engine": {
    does: ({ engineId }) => post(`/containers/${engineId}/restart?t=0`),
    how: "unknown",
    reason: /its container (was started anew|ended) under it/,
  },
};

test.each(Object.keys(WAYS))(
  "a command is told the truth that is ended by %s",
  async (name) => {
    const way = WAYS[name];
    if (way === undefined) throw new Error("the table has it");
    const containerId = await shared.create();
    const { ends, execId } = await runUntil(containerId, async (engineId) => {
      await way.does({ containerId, engineId });
    });
    expect(ends).toMatchObject([
      { how: { case: way.how, value: { reason: expect.stringMatching(way.reason) } } },
    ]);
    const told = await eventOf(shared.client, EventType.EXEC_FINISHED, ({ data }) => data.exec_id === execId);
    expect(told.data).toMatchObject({ end: way.how, reason: expect.stringMatching(way.reason) });
    const { exec: shown } = await orchestrator().getExec({ execId });
    expect(shown?.end?.how.case).toBe(way.how);
    await orchestrator()
      .removeContainer({ containerId, force: true }, SLOW)
      .catch(() => {});
  },
  40_000,
);

test("a command is cancelled that is ended by the close of its session", async () => {
  const { sessionId } = await orchestrator().createSession({});
  const config = { image: shared.image, command: ["sleep", "600"] };
  const { containerId } = await orchestrator().createContainer({ sessionId, config }, SLOW);
  const { ends } = await runUntil(containerId, async () => {
    await orchestrator().closeSession({ sessionId }, SLOW);
  });
  expect(reason(ends[0])).toEqual(["cancelled", "its container was ended: its session was closed"]);
}, 40_000);

test("a command is unknown, not exited, when the main process of its container ends", async () => {
  const containerId = await shared.create({
    command: ["sh", "-c", "until test -e /end; do sleep 0.05; done"],
  });
  const { ends } = await runUntil(containerId, async () => {
    const done = await exec(shared.client, { containerId, command: ["touch", "/end"] });
    expect(done.ends).toHaveLength(1);
  });
  expect(reason(ends[0])).toEqual([
    "unknown",
    "its container ended under it: its main process has ended with 0",
  ]);
}, 40_000);

test("a command is exited with 137 when it alone is killed, and its container runs on", async () => {
  const containerId = await shared.create();
  const { ends } = await exec(shared.client, { containerId, command: ["sh", "-c", "kill -9 $$"] });
  expect(ends).toMatchObject([{ how: { case: "exited", value: { code: 137 } } }]);
}, 40_000);

test("a command whose time is over while its container is paused is unknown, and says what will become of it", async () => {
  const containerId = await shared.create();
  let paused = "";
  const { ends } = await runUntil(
    containerId,
    async (engineId) => {
      await post(`/containers/${engineId}/pause`);
      paused = engineId;
    },
    2_000_000_000n,
  );
  const [kind, words] = reason(ends[0]);
  expect(kind).toBe("unknown");
  expect(words).toMatch(/^its timeout_ns is over.*(paused|can't be killed)/);
  await post(`/containers/${paused}/unpause`);
}, 40_000);

/** Runs a command until `act` has ended it. */
async function runUntil(containerId: string, act: (engineId: string) => Promise<void>, timeoutNs = 0n) {
  const { container } = await orchestrator().getContainer({ containerId });
  return await exec(
    shared.client,
    { containerId, command: ENDLESS, timeoutNs },
    {
      input: async function* (heard): AsyncGenerator<ExecFrame> {
        await heard("on");
        await act(container?.runtimeId ?? "");
        yield* [] as ExecFrame[]; // none: it only has to stay open until then
        await new Promise(() => {});
      },
    },
  );
}

function reason(end: ExecEnd | undefined): readonly [string | undefined, string] {
  const how = end?.how;
  return [how?.case, how?.case === "cancelled" || how?.case === "unknown" ? how.value.reason : ""];
}
