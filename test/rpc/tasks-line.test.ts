import { expect, test } from "bun:test";
import { openLine } from "../agents/open-line.ts";
import { startServer } from "../server.ts";
import { execute, registerWorker } from "../tasks/open-task.ts";

test("StreamAgent() tells a worker of all of its tasks, however few messages wait at a time", async () => {
  await using server = await startServer({ env: { BAAAHT_AGENTS_MAX_QUEUED_MESSAGES: "4" } });
  const { client } = server;
  const { agentId } = await registerWorker(client, { seats: 40 });
  const ids = [];
  for (let at = 0; at < 40; at += 1) ids.push(await execute(client, { agentId }));
  await using line = await openLine(client, agentId);
  for (const id of ids) {
    const { payload } = await line.message();
    expect(payload.case === "taskMessage" && payload.value.taskId).toBe(id);
  }
});
