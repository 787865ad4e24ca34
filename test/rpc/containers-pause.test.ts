import { afterAll, beforeAll, expect, test } from "bun:test";
import { ContainerState, EventType } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { thrown } from "../client/thrown.ts";
import { type ContainerServer, containerServer, eventOf, exec } from "./container-client.ts";

let shared: ContainerServer;

beforeAll(async () => {
  shared = await containerServer();
}, 300_000);
afterAll(() => shared[Symbol.asyncDispose]());

const TIMEOUT_MS = 60_000;
const LONG = { timeoutMs: 30_000 };

test(
  "PauseContainer freezes a container and what runs in it, and ResumeContainer lets it go on",
  async () => {
    const { orchestrator } = shared.client;
    const containerId = await shared.create();
    const frames: string[] = [];
    let resuming: ReturnType<typeof orchestrator.resumeContainer> | undefined;
    const ticking = exec(
      shared.client,
      {
        containerId,
        command: ["sh", "-c", "trap 'exit 4' USR1; echo ready; while :; do sleep 0.05; done"],
      },
      {
        input: async function* (heard) {
          await heard("ready\n");
          expect(await orchestrator.pauseContainer({ containerId }, LONG)).toMatchObject({
            containerId,
            state: ContainerState.PAUSED,
          });
          yield { payload: { case: "signal", value: "USR1" } };
          frames.push(
            (await orchestrator.getContainer({ containerId })).container?.state === 3 ? "paused" : "",
          );
          await orchestrator.pauseContainer({ containerId }, LONG);
          // The command may end, and with it this input, before the answer is here.
          resuming = orchestrator.resumeContainer({ containerId }, LONG);
          await resuming;
        },
      },
    );
    const { ends } = await ticking;
    // The signal was sent while it was frozen, and it heard it when it went on.
    expect(ends[0]?.how.case === "exited" ? ends[0].how.value.code : ends[0]?.how).toBe(4);
    expect(frames).toEqual(["paused"]);
    expect((await resuming)?.state).toBe(ContainerState.RUNNING);
    await orchestrator.resumeContainer({ containerId }, LONG);
    for (const type of [EventType.CONTAINER_PAUSED, EventType.CONTAINER_RESUMED]) {
      const event = await eventOf(
        shared.client,
        type,
        ({ metadata }) => metadata?.containerId === containerId,
      );
      expect(event).toMatchObject({
        source: "orchestrator.grpc",
        metadata: { actor: `uid:${process.getuid?.()}` },
      });
    }
  },
  TIMEOUT_MS,
);

test(
  "a paused container takes no command, gives its logs, is not removed without force, and can be stopped",
  async () => {
    const { orchestrator } = shared.client;
    const script = "echo said; trap 'echo bye; exit 7' TERM; while :; do sleep 0.05; done";
    const containerId = await shared.create({ command: ["sh", "-c", script] });
    for await (const _ of orchestrator.streamContainerLogs({ containerId, follow: true })) break;
    await orchestrator.pauseContainer({ containerId }, LONG);
    const refused = await thrown(() => exec(shared.client, { containerId, command: ["true"] }));
    expect(refused).toMatchObject({
      kind: "failed_precondition",
      details: { reason: "CONTAINER_NOT_RUNNING", metadata: { state: "paused" } },
    });
    let log = "";
    for await (const { data } of orchestrator.streamContainerLogs({ containerId }))
      log += Buffer.from(data).toString();
    expect(log).toBe("said\n");
    const kept = await thrown(() => orchestrator.removeContainer({ containerId }));
    expect(kept).toMatchObject({ kind: "failed_precondition", details: { reason: "CONTAINER_RUNNING" } });
    const { state } = await orchestrator.stopContainer({ containerId }, LONG);
    expect(state).toBe(ContainerState.EXITED);
    expect(await orchestrator.waitContainer({ containerId })).toMatchObject({
      exitCode: 7,
      oomKilled: false,
    });
    const ended = await thrown(() => orchestrator.pauseContainer({ containerId }));
    expect(ended).toMatchObject({ kind: "failed_precondition", details: { metadata: { state: "exited" } } });
  },
  TIMEOUT_MS,
);

test(
  "a paused container is removed by force, and with its session",
  async () => {
    const { orchestrator } = shared.client;
    const forced = await shared.create();
    await orchestrator.pauseContainer({ containerId: forced }, LONG);
    await orchestrator.removeContainer({ containerId: forced, force: true }, LONG);
    expect((await thrown(() => orchestrator.resumeContainer({ containerId: forced }))).kind).toBe(
      "not_found",
    );
    const { sessionId } = await orchestrator.createSession({});
    const config = { image: shared.image, command: ["sleep", "1000"] };
    const { containerId } = await orchestrator.createContainer({ sessionId, config }, LONG);
    await orchestrator.pauseContainer({ containerId }, LONG);
    await orchestrator.closeSession({ sessionId }, LONG);
    expect((await thrown(() => orchestrator.getContainer({ containerId }))).kind).toBe("not_found");
  },
  TIMEOUT_MS,
);

test.each([
  ["none", "", "is missing"],
  ["a long one", "x".repeat(200), "has 200 characters"],
  ["one with control characters", "a\u0000", "has control characters"],
])("an id that is %s is INVALID_ARGUMENT and names container_id", async (_, containerId, why) => {
  const { orchestrator } = shared.client;
  for (const call of [orchestrator.pauseContainer, orchestrator.resumeContainer]) {
    const { kind, details } = await thrown(() => call({ containerId }));
    expect(kind).toBe("invalid_argument");
    expect(details.violations).toMatchObject([
      { field: "container_id", description: expect.stringContaining(why) },
    ]);
  }
  expect((await thrown(() => orchestrator.resumeContainer({ containerId: "nobody" }))).details.reason).toBe(
    "CONTAINER_NOT_FOUND",
  );
});
