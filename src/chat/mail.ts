import type { Agent } from "../agents/agent.ts";
import type { AgentMessage } from "../agents/agent-message.ts";

/** A frame of an agent for the server. */
export interface Mail {
  readonly agent: Agent;
  readonly message: AgentMessage;
}
