import { afterAll, beforeAll, expect, test } from "bun:test";
import { ExecState } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { attach, exec } from "../rpc/container-client.ts";
import { startServer } from "../server.ts";
import { OwnEngine } from "./own-engine.ts";

/** What a command is told when the engine goes away under it. */

let engine: OwnEngine;

beforeAll(async () => {
  engine = await OwnEngine.start();
}, 300_000);
afterAll(async () => await engine[Symbol.asyncDispose](), 60_000);

const ENDLESS = ["sh", "-c", "echo on; while :; do sleep 0.05; done"];

test.each(["stop", "kill"] as const)(
  "a command is unknown, with the reason and never exited, by a %s of its engine, and stays so when that is back",
  async (how) => {
    await using server = await startServer({ dockerHost: engine.dockerHost });
    const { orchestrator } = server.client;
    const { sessionId } = await orchestrator.createSession({});
    const config = { image: engine.image, command: ["sleep", "600"] };
    const { containerId } = await orchestrator.createContainer({ sessionId, config }, { timeoutMs: 30_000 });
    const both = Promise.withResolvers<void>();
    let gone: Promise<void> | undefined;
    const own = exec(
      server.client,
      { containerId, command: ENDLESS },
      {
        input: async function* (heard) {
          await heard("on");
          await both.promise;
          gone = engine[how]();
          yield* [];
          await new Promise(() => {});
        },
      },
    );
    const outlasting = exec(
      server.client,
      { containerId, command: ENDLESS, detachOnDisconnect: true },
      {
        input: async function* (heard) {
          await heard("on");
          both.resolve();
          yield* [];
          await new Promise(() => {});
        },
      },
    );
    const outcomes = await Promise.all([own, outlasting]);
    for (const { ends } of outcomes) {
      expect(ends).toMatchObject([
        { how: { case: "unknown", value: { reason: expect.stringMatching(/engine|container/) } } },
      ]);
    }
    await gone;
    await engine.startAgain();
    for (const { execId } of outcomes) {
      const { exec: shown } = await orchestrator.getExec({ execId });
      expect(shown).toMatchObject({ state: ExecState.ENDED, end: { how: { case: "unknown" } } });
      const again = await attach(server.client, { execId });
      expect([again.stdout.toString(), again.ends.length]).toEqual(["on\n", 1]);
    }
    await orchestrator.closeSession({ sessionId }, { timeoutMs: 30_000 });
  },
  120_000,
);
