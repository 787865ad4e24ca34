import { duration, integer, size } from "./setting.ts";

/** What can be configured of agents and their lines. */
export const agentSettings = {
  maxAgents: integer("Agents that are live.", { default: 2_000, min: 1, max: 100_000 }),
  heartbeatIntervalMs: duration("How often agents are told to beat; at most a third of agents.grace.", {
    default: "30s",
    min: "10ms",
    max: "1d",
  }),
  graceMs: duration(
    "How long an agent may be silent, without an open line or stream of a task, before it is lost.",
    {
      default: "90s",
      min: "100ms",
      max: "7d",
    },
  ),
  keepEndedMs: duration("How long an agent that was lost or has signed off is listed, and can come back.", {
    default: "1d",
    min: "1s",
    max: "3650d",
  }),
  maxEnded: integer("Agents that were lost or have signed off and are still listed; the newest.", {
    default: 2_000,
    min: 1,
    max: 100_000,
  }),
  maxRegistrationLength: integer("Characters of all that an agent says of itself when it registers.", {
    default: 65_536,
    min: 1_024,
    max: 16_777_216,
  }),
  maxQueuedMessages: integer("Messages that wait for one agent to read them.", {
    default: 1_000,
    min: 1,
    max: 1_000_000,
  }),
  maxQueuedBytes: size("The same in bytes; a message larger than this is refused.", {
    default: "32MiB",
    min: "64KiB",
    max: "4GiB",
  }),
  maxQueuedTotalBytes: size("The same of all agents together.", {
    default: "256MiB",
    min: "64KiB",
    max: "64GiB",
  }),
};
