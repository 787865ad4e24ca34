import { expect, test } from "bun:test";
import { startServer } from "../server.ts";
import { execute, openTask, registerWorker } from "../tasks/open-task.ts";

test("StreamTask() fails a task that would be tried again without all of its input, when nobody looks at it any more", async () => {
  const env = { BAAAHT_TASKS_MAX_INPUT_BYTES: "4KiB", BAAAHT_TASKS_RECONNECT_GRACE: "300ms" };
  await using server = await startServer({ env });
  const { client } = server;
  const { agentId, metadata } = await registerWorker(client);
  const taskId = await execute(client, { agentId, config: { command: "x", maxRetries: 3n } });
  const beat = { case: "heartbeat", value: {} } as const;
  const worker = await openTask(client, { taskId, payload: beat }, { metadata });
  const caller = await openTask(client, { taskId, payload: { case: "input", value: {} } });
  for (let part = 0; part < 10; part += 1) caller.input("x".repeat(1_024), { end: part === 9 });
  let bytes = 0;
  while (bytes < 10_240) bytes += (await worker.nextOf("output")).data.length;
  await caller.cut();
  await worker.cut();
  // Until the task is lost nobody may look at it: another one's loss says when its time is over.
  const other = await registerWorker(client);
  const clock = await execute(client, { agentId: other.agentId });
  await (await openTask(client, { taskId: clock, payload: beat }, { metadata: other.metadata })).cut();
  await using watcher = await openTask(client, { taskId: clock, payload: { case: "input", value: {} } });
  await watcher.nextOf("error");
  await client.agent.heartbeat({ agentId });
  await using late = await openTask(client, { taskId, payload: { case: "input", value: {} } });
  expect(await late.nextOf("error")).toMatchObject({ code: "INPUT_NOT_KEPT" });
});

test("StreamTask() tells a worker once how much of the input it can't have again", async () => {
  await using server = await startServer({ env: { BAAAHT_TASKS_MAX_INPUT_BYTES: "4KiB" } });
  const { client } = server;
  const { agentId, metadata } = await registerWorker(client);
  const taskId = await execute(client, { agentId });
  const beat = { case: "heartbeat", value: {} } as const;
  const first = await openTask(client, { taskId, payload: beat }, { metadata });
  await using caller = await openTask(client, { taskId, payload: { case: "input", value: {} } });
  for (let part = 0; part < 10; part += 1) caller.input("x".repeat(1_024));
  let read = 0;
  while (read < 10_240) read += (await first.nextOf("output")).data.length;
  await Bun.sleep(200); // what is kept is on the disk
  caller.input("x");
  await first.nextOf("output");
  await first.cut();
  for (const text of ["a", "b", "c"]) caller.input(text);
  caller.send(beat);
  while ((await caller.next())?.case !== "heartbeat"); // the server has taken all of it
  await using again = await openTask(client, { taskId, payload: beat }, { metadata });
  let got = 0;
  let missing = 0;
  // What came last may have gone to the stream that was cut, and is missing too.
  while (got + missing < 10_244) {
    const { data, missingBytes } = await again.nextOf("output");
    got += data.length;
    missing += Number(missingBytes);
  }
  expect(got + missing).toBe(10_244);
  expect(missing).toBeGreaterThan(0);
});
