import { Agents } from "../agents/agents.ts";
import { eventMail } from "../agents/event-mail.ts";
import { Lines } from "../agents/lines.ts";
import { Passing } from "../agents/passing.ts";
import { forgetEnded } from "../agents/retention.ts";
import { watchSilence } from "../agents/silence.ts";
import type { DomainParts } from "./domain-parts.ts";

/** Agents and their lines. */
export interface AgentDomain {
  readonly agents: Agents;
  readonly lines: Lines;
  readonly passing: Passing;
}

/** Takes up the agents that are live, and begins to look after those that fall silent. */
export async function startAgents({
  store,
  clock,
  supervisor,
  config,
}: Pick<DomainParts, "store" | "clock" | "supervisor" | "config">): Promise<AgentDomain> {
  const { graceMs, maxAgents, maxRegistrationLength } = config.agents;
  const agents = new Agents({
    store,
    clock,
    monotonic: () => performance.now(),
    limits: { maxAgents, maxRegistrationLength, labels: config.sessions },
    graceMs,
  });
  await agents.takeUp();
  const lines = new Lines({
    agents,
    background: supervisor,
    clock,
    limits: {
      maxMessages: config.agents.maxQueuedMessages,
      maxBytes: config.agents.maxQueuedBytes,
      maxTotalBytes: config.agents.maxQueuedTotalBytes,
    },
  });
  supervisor.keepUp("give up on silent agents", (signal) => watchSilence(agents, { graceMs, signal }));
  supervisor.keepUp("forget agents that have ended", (signal) =>
    forgetEnded({ store, clock, retention: config.agents }, signal),
  );
  lines.onMessage(eventMail({ store, clock }));
  return { agents, lines, passing: new Passing({ agents, lines, store, clock }) };
}
