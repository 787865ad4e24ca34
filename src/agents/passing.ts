import type { Call } from "../call.ts";
import type { Instant } from "../events/event.ts";
import { type FieldViolation, invalid } from "../failure.ts";
import { answered, answerOf, answerTable, type OnceKey, onceKey } from "../store/answers.ts";
import { changed, put, type Store, unchanged } from "../store/store.ts";
import type { Agent, AgentId } from "./agent.ts";
import { type AgentMessageDraft, completeMessage, messageViolations, orchestrator } from "./agent-message.ts";
import type { Agents } from "./agents.ts";
import type { Lines } from "./lines.ts";

/** What a message that was passed on is known by. */
export interface Passed {
  readonly id: string;
  readonly at: Instant;
}

interface Sending {
  readonly draft: AgentMessageDraft;
  /** Empty: none. */
  readonly idempotencyKey: string;
  /** The registration token of the source, when one was presented. */
  readonly token: string | undefined;
}

/** Messages that are sent by a call, and not on a line. */
export class Passing {
  readonly #parts: {
    readonly agents: Agents;
    readonly lines: Lines;
    readonly store: Store;
    readonly clock: () => Instant;
  };
  /** Requests with a key that are under way, so that two of the same pass one message. */
  readonly #underWay = new Map<string, Promise<Passed>>();

  constructor(parts: {
    readonly agents: Agents;
    readonly lines: Lines;
    readonly store: Store;
    readonly clock: () => Instant;
  }) {
    this.#parts = parts;
  }

  /**
   * Passes a message on to the agent with this id, or to the server. A request with the key of an earlier one with the
   * same content gives what that one gave, and passes nothing on.
   *
   * Failures: as `Lines.deliver`; INVALID_ARGUMENT, UNAUTHENTICATED, ALREADY_EXISTS; NOT_FOUND also when the source is no
   * agent.
   */
  async send(id: AgentId | typeof orchestrator, sending: Sending, call: Call): Promise<Passed> {
    const { draft, idempotencyKey: key } = sending;
    const violations = [...messageViolations(draft), ...addressViolations(id, draft)];
    if (violations.length > 0) throw invalid("send a message", violations);
    if (key === "") return await this.#pass(id, sending, call);
    const content = contentOf({ ...draft, targetId: id });
    const once = onceKey(key, { kind: "send_agent_message", scope: call.actor, content });
    // The fingerprint too: other content has to find the answer to the first, and be refused by it.
    const name = `${once.row}/${once.fingerprint}`;
    const running = this.#underWay.get(name) ?? this.#passOnce(id, { ...sending, once }, call);
    this.#underWay.set(name, running);
    try {
      return await running;
    } finally {
      this.#underWay.delete(name);
    }
  }

  /** The answer is kept after the message was passed on: a server that is killed in between passes a repeat on again. */
  async #passOnce(
    id: AgentId | typeof orchestrator,
    sending: Sending & { readonly once: OnceKey },
    call: Call,
  ): Promise<Passed> {
    const { store, clock } = this.#parts;
    const { once } = sending;
    const before = answered(await store.get(answerTable, once.row), once, clock());
    if (before !== undefined) return passedOf(before);
    const passed = await this.#pass(id, sending, call);
    return await store.change({ answer: { table: answerTable, key: once.row } }, ({ answer }) => {
      const first = answered(answer, once, passed.at);
      if (first !== undefined) return unchanged(passedOf(first));
      return changed(passed, [put(answerTable, answerOf(once, subjectOf(passed), passed.at))]);
    });
  }

  async #pass(id: AgentId | typeof orchestrator, { draft, token }: Sending, call: Call): Promise<Passed> {
    const { agents, lines, clock } = this.#parts;
    const from = await this.#source(draft, token, call);
    const at = clock();
    const message = completeMessage(draft, { at, sourceId: draft.sourceId, targetId: id });
    if (id !== orchestrator) lines.deliver(id, message);
    else if (from !== undefined) await lines.route(message, from);
    if (from !== undefined) agents.saw(from.id);
    return { id: message.id, at };
  }

  /** The agent that sends; undefined when nobody says who it is. */
  async #source(draft: AgentMessageDraft, token: string | undefined, call: Call): Promise<Agent | undefined> {
    if (draft.sourceId === "") return undefined;
    // What is no agent's id is found nowhere.
    const id = draft.sourceId as AgentId;
    const { agent } = await this.#parts.agents.arrive(id, { token, doing: "send a message of agent" }, call);
    return agent;
  }
}

function addressViolations(
  id: AgentId | typeof orchestrator,
  { sourceId, targetId }: AgentMessageDraft,
): readonly FieldViolation[] {
  const violations: FieldViolation[] = [];
  if (targetId !== "" && targetId !== id) {
    const description = `is "${targetId.slice(0, 64)}", and agent_id is "${id.slice(0, 64)}"; one of them is enough`;
    violations.push({ field: "message.target_id", description });
  }
  if (sourceId === orchestrator) {
    const description = `is "${orchestrator}", which only the server is`;
    violations.push({ field: "message.source_id", description });
  }
  if (sourceId === "" && id === orchestrator) {
    const description = `is missing; the server takes messages of agents only`;
    violations.push({ field: "message.source_id", description });
  }
  return violations;
}

/** What tells one message from another; its bytes by their hash. */
function contentOf(draft: AgentMessageDraft): unknown {
  const { payload } = draft;
  if (payload.kind === "task") return { ...draft, payload: { ...payload, output: hashOf(payload.output) } };
  if (payload.kind === "data") return { ...draft, payload: { ...payload, data: hashOf(payload.data) } };
  return draft;
}

function hashOf(bytes: Uint8Array): string {
  return new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
}

function subjectOf({ id, at }: Passed): string {
  return `${at} ${id}`;
}

function passedOf(subject: string): Passed {
  const at = subject.indexOf(" ");
  return { id: subject.slice(at + 1), at: Number(subject.slice(0, at)) };
}
