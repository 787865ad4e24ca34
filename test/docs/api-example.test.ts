import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { AgentState, AgentType } from "../../src/gen/proto/agent/v1/agent_pb.ts";
import { openLine, textOf } from "../agents/open-line.ts";
import { startServer } from "../server.ts";

const docs = join(import.meta.dir, "../../docs");

test("docs/api.md shows an agent that works as it stands there", async () => {
  const example = /```ts\n([\s\S]*?)```/.exec(readFileSync(join(docs, "api.md"), "utf8"))?.[1] ?? "";
  await using server = await startServer();
  const program = join(server.dataDir, "agent.ts");
  const here = (path: string) => JSON.stringify(Bun.resolveSync(path, docs));
  const text = example
    .replaceAll(/"(\.\.\/src\/[^"]+|@bufbuild\/protobuf)"/g, (_, path) => here(path))
    .replace("/tmp/baaaht-grpc.sock", server.socketPath);
  writeFileSync(program, text);
  await using _echo = Bun.spawn({ cmd: [process.execPath, program], stdout: "inherit", stderr: "inherit" });
  const { client } = server;
  const me = await client.agent.register({ name: "asks", type: AgentType.MONITOR });
  await using line = await openLine(client, me.agentId);
  const echo = await lineOf("echo");
  line.say(echo, "hello");
  expect(textOf(await line.message())).toBe("hello");
  expect((await client.agent.getAgent({ agentId: echo })).agent?.state).toBe(AgentState.IDLE);

  /** The id of the agent with this name, when it holds a line. */
  async function lineOf(name: string): Promise<string> {
    for await (const _ of client.orchestrator.subscribeEvents({
      fromStart: true,
      bookmarkIntervalNs: 100_000_000n,
    })) {
      const { agents } = await client.agent.listAgents({ type: AgentType.TOOL });
      const found = agents.find((agent) => agent.name === name && agent.lineOpen);
      if (found !== undefined) return found.id;
    }
    throw new Error("the events ended, and it has not come");
  }
});
