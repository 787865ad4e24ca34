import { expect, test } from "bun:test";
import { Failure } from "../../src/failure.ts";
import { startServer } from "../server.ts";
import { tempFolder } from "../temp-folder.ts";
import { brokenDisk } from "./broken-disk.ts";

const SIGKILL = 9;

test("a server whose disk confirms nothing ends, and the next start serves all that was acknowledged", async () => {
  await using disk = await brokenDisk();
  await using folder = await tempFolder();
  const dataDir = folder.file("data");
  await using server = await startServer({ dataDir, env: disk.env });
  const { orchestrator } = server.client;
  const { sessionId } = await orchestrator.createSession({ metadata: { name: "acknowledged" } });
  disk.be("fails");
  // Its answer may be overtaken by the end of the connection.
  const refused = await orchestrator.createSession({}, { timeoutMs: 20_000 }).catch((error) => error);
  expect(refused).toBeInstanceOf(Failure);
  expect(refused.kind).toBe("unavailable");
  expect(await server.exited).toBe(-SIGKILL);
  expect(server.logs()).toContain("what is saved is not known; ending, for the next start to find out");
  expect(server.logs()).toContain("did not confirm a commit");
  disk.mend();
  await using again = await startServer({ dataDir });
  const { session } = await again.client.orchestrator.getSession({ sessionId });
  expect(session?.metadata?.name).toBe("acknowledged");
}, 60_000);

test("SIGTERM ends a server whose disk never answers, within the shutdown's time", async () => {
  await using disk = await brokenDisk();
  await using server = await startServer({ env: disk.env, flags: ["--shutdown-timeout", "100ms"] });
  disk.be("hangs");
  const saving = server.client.orchestrator.createSession({}).catch(() => undefined);
  expect(await server.stop()).toBe(-SIGKILL);
  expect(server.logs()).toContain("stopping takes too long; ending now");
  await saving;
}, 60_000);
