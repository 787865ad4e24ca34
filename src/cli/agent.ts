import { Failure } from "../failure.ts";
import {
  AgentSchema,
  AgentState,
  AgentStateSchema,
  AgentTypeSchema,
  ListAgentsResponseSchema,
} from "../gen/proto/agent/v1/agent_pb.ts";
import { runAgent } from "./agent-run.ts";
import { agentColumns, agentRecord } from "./agent-view.ts";
import { cell } from "./cell.ts";
import { clientCommand } from "./client-command.ts";
import { group, manyWords, word } from "./command.ts";
import { doToEach } from "./do-to-each.ts";
import { EXIT_CODES } from "./exit-codes.ts";
import { findAgentId } from "./find-id.ts";
import { anyText, choice, int, pairs } from "./flag.ts";
import { readPages } from "./pages.ts";
import { jsonOf } from "./proto-json.ts";
import { enumNumber, enumWord, enumWords } from "./words.ts";

const agent = word({ about: "the agent: its id, the beginning of it, or its name", completes: "agent" });

/** The states that agents are listed in. */
const STATES = [AgentState.IDLE, AgentState.BUSY, AgentState.TERMINATED].map((state) =>
  enumWord(AgentStateSchema, state),
);

const listAgents = clientCommand({
  name: "list",
  summary: "list agents, newest first",
  description:
    "Those that were lost or have signed off are listed for a while, as terminated: a day, unless the server was told otherwise.",
  words: {},
  flags: {
    state: choice({ about: "in this state", choices: STATES, placeholder: "STATE" }),
    type: choice({ about: "of this type", choices: enumWords(AgentTypeSchema), placeholder: "TYPE" }),
    label: pairs({ about: "with this label", short: "l" }),
    limit: int({ about: "how many at most (default all)", min: 1 }),
  },
  examples: [
    { about: "workers that wait for something to do", line: "baaaht agent list --type worker --state idle" },
    { about: "who answers conversations", line: "baaaht agent list -l role=assistant" },
    {
      about: "why agents are gone",
      line: "baaaht agent list --state terminated -o json | jq '.agents[].stateReason'",
    },
  ],
  run: async ({ client, flags, print }) => {
    const filter = {
      state: enumNumber(AgentStateSchema, flags.state),
      type: enumNumber(AgentTypeSchema, flags.type),
      labels: flags.label,
    };
    const { items, ...rest } = await readPages(flags.limit, async (request) => {
      const { agents, ...page } = await client.agent.listAgents({ ...request, ...filter });
      return { ...page, items: agents };
    });
    await print.list({
      items,
      columns: agentColumns(print.times),
      id: ({ id }) => id,
      itemValue: (one) => jsonOf(AgentSchema, one),
      value: () => jsonOf(ListAgentsResponseSchema, { ...rest, agents: [...items] }),
    });
    return EXIT_CODES.ok;
  },
});

const getAgent = clientCommand({
  name: "get",
  summary: "show an agent",
  words: { agent },
  flags: {},
  examples: [
    { about: "by its name", line: "baaaht agent get assistant" },
    { about: "whether it holds a line", line: "baaaht agent get 0192f3a4 -o json | jq .lineOpen" },
  ],
  run: async ({ client, words, print }) => {
    const got = await client.agent.getAgent({ agentId: await findAgentId(client, words.agent) });
    if (got.agent === undefined)
      throw new Failure("internal", "Cannot read the server's answer: it has no agent in it");
    await print.record(agentRecord(got.agent, print.times));
    return EXIT_CODES.ok;
  },
});

const unregisterAgents = clientCommand({
  name: "unregister",
  summary: "sign agents off; what they had in hand goes back to the queue",
  description:
    "An agent that still runs hears of it: its line ends, its heartbeats are refused, and it has to register again.",
  words: {
    agents: manyWords({
      about: "agents: their ids, the beginnings of them, or their names",
      completes: "agent",
      optional: false,
    }),
  },
  flags: { reason: anyText({ about: "why, for people; kept with the agent and in the log", short: "r" }) },
  examples: [
    { about: "one", line: 'baaaht agent unregister 0192f3a4 --reason "its host is gone"' },
    {
      about: "all of a label",
      line: "baaaht agent list -q -l pool=old --state idle | xargs baaaht agent unregister",
    },
  ],
  run: async ({ client, flags, words, print }) =>
    await doToEach(words.agents, async (one) => {
      const agentId = await findAgentId(client, one);
      const off = await client.agent.unregister({ agentId, reason: flags.reason ?? "" });
      await print.record({
        id: agentId,
        value: () => ({ agentId, success: off.success, message: off.message }),
        rows: () => [
          ["ID", cell(agentId)],
          ["Outcome", cell(off.message)],
        ],
      });
    }),
});

export const agentGroup = group({
  name: "agent",
  summary: "be a worker; list agents, and sign them off",
  description: "Agents are programs that take tasks or answer conversations.",
  commands: [runAgent, listAgents, getAgent, unregisterAgents],
});
