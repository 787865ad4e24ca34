import { describe, expect, test } from "bun:test";
import type { Client } from "../../src/client/client.ts";
import { startServer } from "../server.ts";
import { execute, openTask, registerWorker } from "../tasks/open-task.ts";

/** Waits until a task has failed, and gives the code of its error. */
async function codeOf(client: Client, taskId: string): Promise<string> {
  await using watcher = await openTask(client, { taskId, payload: { case: "input", value: {} } });
  return (await watcher.nextOf("error")).code;
}

describe("Unregister()", () => {
  test("fails what was asked of the agent alone: what waits, what it has, and what it would do again later", async () => {
    await using server = await startServer({ env: { BAAAHT_TASKS_RETRY_DELAY: "500ms" } });
    const { client } = server;
    const { agentId, metadata } = await registerWorker(client);
    const config = { command: "x", maxRetries: 3n, retryOnFailure: true };
    const later = await execute(client, { agentId, config });
    await using stream = await openTask(
      client,
      { taskId: later, payload: { case: "heartbeat", value: {} } },
      { metadata },
    );
    stream.send({ case: "errorMsg", value: { code: "E", message: "not now" } });
    await stream.rest().catch(() => undefined); // the attempt is over
    const held = await execute(client, { agentId, config });
    const waiting = await execute(client, { agentId, config });
    await client.agent.unregister({ agentId });
    for (const taskId of [waiting, held, later])
      expect(await codeOf(client, taskId)).toBe("AGENT_UNREGISTERED");
  });

  test("fails them after a restart when the server was killed in between", async () => {
    const before = await startServer();
    const { agentId } = await registerWorker(before.client);
    const [held, waiting] = [
      await execute(before.client, { agentId }),
      await execute(before.client, { agentId }),
    ];
    await before.client.agent.unregister({ agentId });
    await before.kill();
    await using after = await startServer({ dataDir: before.dataDir, socketPath: before.socketPath });
    for (const taskId of [waiting, held])
      expect(await codeOf(after.client, taskId)).toBe("AGENT_UNREGISTERED");
    await before[Symbol.asyncDispose]();
  });
});
