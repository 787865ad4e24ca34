import { expect, test } from "bun:test";
import { join } from "node:path";
import { EventType, MessageRole } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { startCompiledServer } from "./compiled-server.ts";
import { linesOf, programs, succeed } from "./programs.ts";

const TEST_TIMEOUT_MS = 300_000;

const folder = join(import.meta.dir, "../../examples/python");

/** Runs the example's own watch, and tells of each event as it comes. */
const program = `
import sys
import example

class Told(list):
    def append(self, event):
        super().append(event)
        print(event.id, flush=True)

example.watch(*sys.argv[1:], Told())
`;

test(
  "a foreign watch goes on over a server that is killed, without loss or repeat",
  async () => {
    const { python } = programs;
    await succeed(["sh", "generate.sh"], { cwd: folder, env: { PYTHON: python } });
    await using killed = await startCompiledServer();
    const { sessionId } = await killed.client.orchestrator.createSession({});
    const words = [python, "-c", program, killed.socketPath, sessionId];
    const watch = Bun.spawn(words, { cwd: folder, stdout: "pipe", stderr: "inherit" });
    const lines = linesOf(watch.stdout);
    const seen: string[] = [];
    const seeOneMore = async () => void seen.push((await lines.next()).value ?? "");
    const say = async (client: typeof killed.client, content: string) =>
      await client.orchestrator.sendMessage({ sessionId, message: { role: MessageRole.USER, content } });

    await seeOneMore();
    for (const content of ["one", "two", "three"]) await say(killed.client, content);
    await seeOneMore();
    await killed.kill();
    await using again = await startCompiledServer({
      dataDir: killed.dataDir,
      socketPath: killed.socketPath,
    });
    const { client } = again;
    for (const content of ["four", "five"]) await say(client, content);
    await client.orchestrator.closeSession({ sessionId });
    for await (const id of lines) if (!id.startsWith("watch:")) seen.push(id);

    expect(await watch.exited).toBe(0);
    const logged: string[] = [];
    const events = client.orchestrator.subscribeEvents({ filter: { sessionId }, fromStart: true });
    for await (const event of events) {
      logged.push(event.id);
      if (event.type === EventType.SESSION_CLOSED) break;
    }
    expect(logged).toHaveLength(7);
    expect(seen).toEqual(logged);
  },
  TEST_TIMEOUT_MS,
);
