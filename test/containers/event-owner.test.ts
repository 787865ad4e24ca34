import { expect, test } from "bun:test";
import { domainSubject, FOREVER } from "./domain-subject.ts";

test("events of a container and of its commands carry its session's owner, and a signal's whole name", async () => {
  await using subject = await domainSubject();
  await subject.engine("up");
  const metadata = { name: "n", description: "", labels: { team: "red" }, ownerId: "user-123", tags: [] };
  const config = subject.config();
  const { id } = await subject.sessions.create({ metadata, config, idempotencyKey: "" }, subject.call());
  const container = await subject.create(id, { command: FOREVER });
  const start = {
    containerId: container.id,
    command: FOREVER,
    env: {},
    workingDir: "",
    user: "",
    tty: false,
    stdin: false,
    timeoutNs: 0n,
    onDisconnect: "kill" as const,
  };
  async function* frames() {
    yield { kind: "signal" as const, name: "TERM" };
  }
  for await (const output of subject.execs.run(start, frames(), subject.call())) {
    if (output.kind === "end") expect(output.end).toMatchObject({ kind: "signalled", signal: "TERM" });
  }
  await subject.containers.remove(container.id, { how: "force" }, subject.call());

  const told = await subject.events(
    "container_created",
    "container_started",
    "exec_started",
    "exec_finished",
    "container_removed",
  );
  expect(told).toHaveLength(5);
  for (const event of told) expect(event).toMatchObject({ userId: "user-123", labels: { team: "red" } });
  expect(told[3]?.data).toMatchObject({ end: "signalled", signal: "SIGTERM" });
});
