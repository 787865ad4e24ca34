// An agent in a process of its own, to be stopped and killed: it holds a line and sends back what it gets.
//   bun test/agents/line-process.ts SOCKET [AGENT_ID]
import { connect } from "../../src/client/client.ts";
import { AgentType } from "../../src/gen/proto/agent/v1/agent_pb.ts";
import { openLine, textOf } from "./open-line.ts";

const [socket = "", given] = process.argv.slice(2);
await using client = connect({ address: `unix://${socket}` });
const agentId = given ?? (await client.agent.register({ name: "process", type: AgentType.WORKER })).agentId;
await using line = await openLine(client, agentId);
process.stdout.write(`${agentId}\n`);
for (;;) {
  const message = await line.message();
  if (message.sourceId !== "orchestrator") line.say(message.sourceId, textOf(message));
}
