import type { Agent, AgentId } from "../agents/agent.ts";
import type { AgentChange, Agents } from "../agents/agents.ts";
import type { Session } from "../sessions/session.ts";
import type { Choice, Conversation } from "./turn.ts";

/** An agent that answers questions. */
interface Assistant {
  readonly agent: Agent;
  line: "open" | "none";
  /** How many questions it has now. */
  load: number;
  /** Whether its queue was full when it was last asked; until there may be room again. */
  isFull: boolean;
  /** Of all choices, the last one that fell on it: among equals it is the turn of the one that has waited longest. */
  chosenAt: number;
}

/** Whether the server has an assistant run beside it, and started again when it ends. */
export type AssistantBeside = "expected" | "none";

/** What an assistant is named that has no label; the one beside the server is. */
const assistantName = "assistant";

/** The label of a session that says who answers there: an assistant's name, or its label of the same name. */
const assistantLabel = "assistant";

/** The agents that answer questions: those named `assistant` or labelled role=assistant. */
export class Assistants {
  readonly #assistants = new Map<AgentId, Assistant>();
  readonly #beside: AssistantBeside;
  #choices = 0;

  constructor(beside: AssistantBeside) {
    this.#beside = beside;
  }

  /** Takes those that are live. */
  takeUp(agents: Agents): void {
    for (const { agent, line } of agents.live()) {
      if (isAssistant(agent)) this.#add(agent, line);
    }
  }

  /** Follows what becomes of agents; says whether it is of an assistant. */
  follow({ kind, agent }: AgentChange): boolean {
    if (!isAssistant(agent)) return false;
    const known = this.#assistants.get(agent.id);
    switch (kind) {
      case "lost":
      case "unregistered":
        this.#assistants.delete(agent.id);
        break;
      case "live":
      case "line_closed":
        if (known === undefined) this.#add(agent, "none");
        else known.line = "none";
        break;
      case "line_opened":
        if (known === undefined) this.#add(agent, "open");
        else known.line = "open";
    }
    return true;
  }

  /** Its queue has no room for a question: others are chosen before it until it has. */
  full(id: AgentId): void {
    const assistant = this.#assistants.get(id);
    if (assistant !== undefined) assistant.isFull = true;
  }

  /** There may be room in its queue. */
  hasRoom(id: AgentId): void {
    const assistant = this.#assistants.get(id);
    if (assistant !== undefined) assistant.isFull = false;
  }

  isFull(id: AgentId): boolean {
    return this.#assistants.get(id)?.isFull === true;
  }

  nameOf(id: AgentId | undefined): string {
    return id === undefined ? "" : (this.#assistants.get(id)?.agent.name ?? id);
  }

  /** An assistant has got a question, or has it no more. */
  count(id: AgentId, by: 1 | -1): void {
    const assistant = this.#assistants.get(id);
    if (assistant !== undefined) assistant.load = Math.max(0, assistant.load + by);
  }

  /**
   * Who answers a session's question now: the one that it has, while that has its line; otherwise the one with the fewest
   * questions; one whose queue is full only if there is no other. Those that are registered and have no line are expected to open it, and one that runs beside the server to
   * come, as it does after each start.
   */
  choose(session: Session, conversation: Conversation): Choice {
    const wanted = session.metadata.labels[assistantLabel];
    let best: Assistant | undefined;
    let isExpected = this.#beside === "expected" && (wanted === undefined || wanted === assistantName);
    for (const assistant of this.#assistants.values()) {
      const { agent, line } = assistant;
      if (wanted !== undefined && agent.name !== wanted && agent.metadata.labels[assistantLabel] !== wanted)
        continue;
      if (line === "none") {
        isExpected = true;
        continue;
      }
      if (agent.id === conversation.assistantId && !assistant.isFull) {
        best = assistant;
        break;
      }
      if (best === undefined || isBefore(assistant, best)) best = assistant;
    }
    if (best !== undefined) {
      this.#choices += 1;
      best.chosenAt = this.#choices;
      return { kind: "assistant", assistantId: best.agent.id, ticket: Bun.randomUUIDv7() };
    }
    return isExpected ? { kind: "expected" } : { kind: "none", words: nobodyWords(wanted) };
  }

  #add(agent: Agent, line: Assistant["line"]): void {
    this.#assistants.set(agent.id, { agent, line, load: 0, isFull: false, chosenAt: 0 });
  }
}

function isAssistant({ name, metadata }: Agent): boolean {
  return name === assistantName || metadata.labels.role === "assistant";
}

function isBefore(one: Assistant, other: Assistant): boolean {
  if (one.isFull !== other.isFull) return other.isFull;
  return one.load === other.load ? one.chosenAt < other.chosenAt : one.load < other.load;
}

function nobodyWords(wanted: string | undefined): string {
  return wanted === undefined
    ? "there is no assistant: no agent named assistant, or labelled role=assistant, is connected"
    : `there is no assistant "${wanted}", which the session's label asks for`;
}
