import { expect, test } from "bun:test";
import { domainSubject, FOREVER } from "./domain-subject.ts";

const LIMITED = { limits: { nanoCpu: 0n, memoryBytes: 16_777_216n, memorySwap: 0n, pidsLimit: 0n } };

test("a container whose main process ran out of memory says so, and another that was killed does not", async () => {
  await using subject = await domainSubject();
  const sessionId = await subject.session();
  const { id } = await subject.create(sessionId, { command: ["tail", "/dev/zero"], ...LIMITED });
  expect(await subject.containers.wait(id, subject.call())).toMatchObject({ exitCode: 137, oomKilled: true });
  const killed = await subject.create(sessionId, { command: FOREVER, ...LIMITED });
  await subject.containers.stop(killed.id, { graceMs: 1 }, subject.call());
  expect(await subject.containers.wait(killed.id, subject.call())).toMatchObject({
    exitCode: 137,
    oomKilled: false,
  });
  expect((await subject.events("container_stopped")).map(({ data }) => data?.oom_killed)).toEqual([
    "true",
    "false",
  ]);
  expect(await subject.events("resource_threshold")).toMatchObject([
    {
      containerId: id,
      priority: "high",
      data: { resource: "memory", oom_killed: "true", limit: "16777216" },
    },
  ]);
});

test("a command that ran out of memory marks its container at once, until that ends, and is told once", async () => {
  await using subject = await domainSubject();
  const { id } = await subject.create(await subject.session(), { command: FOREVER, ...LIMITED });
  const start = { containerId: id, command: ["tail", "/dev/zero"], env: {}, workingDir: "", user: "" };
  const run = subject.execs.run(
    { ...start, tty: false, stdin: false, timeoutNs: 0n, onDisconnect: "kill" },
    (async function* () {})(),
    subject.call(),
  );
  for await (const _ of run);
  await subject.event("resource_threshold");
  expect((await subject.row(id))?.life).toMatchObject({ state: "running", oomKilled: true });
  await subject.pausing.pause(id, subject.call()); // the engine's facts do not say it yet, and it is not forgotten
  expect((await subject.row(id))?.life).toMatchObject({ state: "paused", oomKilled: true });
  await subject.containers.stop(id, { graceMs: 1 }, subject.call());
  expect(await subject.containers.wait(id, subject.call())).toMatchObject({ oomKilled: true });
  expect(await subject.events("resource_threshold")).toHaveLength(1);
});
