import type { Background } from "../background.ts";
import type { Call } from "../call.ts";
import type { Instant } from "../events/event.ts";
import { abortFailure, Failure, invalid } from "../failure.ts";
import { untilAborted } from "../until-aborted.ts";
import { type Agent, type AgentId, unregistered } from "./agent.ts";
import {
  type AgentMessage,
  type AgentMessageDraft,
  completeMessage,
  messageBytes,
  messageViolations,
  orchestrator,
} from "./agent-message.ts";
import type { AgentChange, Agents } from "./agents.ts";
import { Line } from "./line.ts";
import { type LineOutput, Outbox, type OutboxLimits } from "./outbox.ts";
import { notDelivered, notTaken } from "./undelivered.ts";

/** What comes in from an agent. */
export type LineInput =
  | { readonly kind: "heartbeat" }
  | { readonly kind: "message"; readonly message: AgentMessageDraft };

/** A message for the server itself, and who sent it. */
interface AgentMail {
  readonly agent: Agent;
  readonly message: AgentMessage;
}

/**
 * Takes a message for the server, or says that it is not its to take. What it throws as a Failure is told to the sender;
 * nothing more is read from the sender until it resolves.
 */
export type MailListener = (mail: AgentMail) => Promise<"taken" | "not_mine"> | "taken" | "not_mine";

export interface LinesOptions {
  readonly agents: Agents;
  readonly background: Background;
  readonly clock: () => Instant;
  readonly limits: OutboxLimits;
}

/**
 * The lines of agents: each is one open StreamAgent, by which messages reach the agent in the order in which they were
 * delivered. Messages are not kept anywhere else: they are in the agent's bounded queue, or they were refused.
 */
export class Lines {
  readonly #options: LinesOptions;
  readonly #agents: Agents;
  readonly #lines = new Map<AgentId, Line>();
  /** Of agents that have a line, or have left messages unread when theirs ended. */
  readonly #outboxes = new Map<AgentId, Outbox>();
  readonly #listeners = new Set<MailListener>();
  readonly #roomListeners = new Set<(id: AgentId) => void>();
  readonly #total = { messages: 0, bytes: 0 };

  constructor(options: LinesOptions) {
    this.#options = options;
    this.#agents = options.agents;
    this.#agents.onChange((change) => this.#follow(change));
  }

  /** How many lines are open. */
  get count(): number {
    return this.#lines.size;
  }

  /** What waits for agents to read it, of all of them together. */
  get waiting(): { readonly messages: number; readonly bytes: number } {
    return this.#total;
  }

  /** Whether the agent has a line open. */
  has(id: AgentId): boolean {
    return this.#lines.has(id);
  }

  /**
   * Calls `listener` with messages for the server: those whose target is `orchestrator`, or nobody. All listeners hear of
   * all of them; those that none takes are answered with an error, but for heartbeats. Returns the way to stop.
   */
  onMessage(listener: MailListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Calls `listener`, which must not throw, whenever there may be room again in the queue of an agent with a line: something
   * has gone out, or it has shown that it is there. Returns the way to stop.
   */
  onRoom(listener: (id: AgentId) => void): () => void {
    this.#roomListeners.add(listener);
    return () => this.#roomListeners.delete(listener);
  }

  /**
   * Puts a message into the agent's queue; it goes out behind all that was delivered before.
   *
   * Failures: NOT_FOUND when there is no such agent or it has no line, RESOURCE_EXHAUSTED when its queue is full,
   * INVALID_ARGUMENT when the message is larger than any queue.
   */
  deliver(id: AgentId, message: AgentMessage): void {
    const line = this.#lines.get(id);
    if (line === undefined) throw this.#unreachable(id);
    checkSize(message, this.#options.limits);
    const problem = line.outbox.problemOf(message);
    if (problem !== undefined) throw queueFull(id, problem);
    line.outbox.pass(message);
    line.wake();
  }

  /**
   * Serves an agent's line: yields what goes out to it, takes what comes in. The newest line of an agent is its line: one
   * before it ends with ABORTED. `opened` is called when the line is in place.
   *
   * Failures: as `Agents.heartbeat`; INVALID_ARGUMENT when something that comes in is wrong; NOT_FOUND when the agent is
   * unregistered.
   */
  async *serve(
    id: AgentId,
    serving: {
      readonly input: AsyncIterable<LineInput>;
      readonly token: string | undefined;
      readonly call: Call;
      readonly opened: () => void;
    },
  ): AsyncGenerator<LineOutput, void, undefined> {
    const { call, input } = serving;
    const { agent } = await this.#agents.arrive(
      id,
      { token: serving.token, doing: "open the line of agent" },
      call,
    );
    const line = this.#open(agent);
    const stop = () => line.fail(abortFailure(call.signal));
    call.signal.addEventListener("abort", stop);
    try {
      if (call.signal.aborted) stop();
      serving.opened();
      this.#options.background.start("read the line of an agent", () => this.#read(line, input));
      for (let output = await line.next(); output !== undefined; output = await line.next()) {
        this.#tellRoom(id);
        yield output;
      }
    } finally {
      call.signal.removeEventListener("abort", stop);
      this.#close(line);
    }
  }

  /**
   * Passes a message on to whoever it is for. One of an agent's own is a sign of its life.
   *
   * Failures: as `deliver`; INVALID_ARGUMENT when something in it is wrong, or its source is another than `from`.
   */
  async route(message: AgentMessage, from: Agent): Promise<void> {
    if (message.targetId !== orchestrator) {
      this.deliver(message.targetId as AgentId, message); // which is NOT_FOUND for what is no agent's id
      return;
    }
    checkSize(message, this.#options.limits);
    let outcome = "not_mine";
    for (const listener of this.#listeners) {
      if ((await listener({ agent: from, message })) === "taken") outcome = "taken";
    }
    // A heartbeat has been heard, whatever else it says.
    if (outcome === "not_mine" && message.type !== "heartbeat") throw notTaken(message);
  }

  #open(agent: Agent): Line {
    const { id } = agent;
    const before = this.#lines.get(id);
    if (before !== undefined) {
      before.fail(replaced(id));
      this.#close(before);
    }
    const outbox = this.#outboxes.get(id) ?? new Outbox(this.#options.limits, this.#total);
    const line = new Line(agent, outbox);
    this.#outboxes.set(id, outbox);
    this.#lines.set(id, line);
    try {
      this.#agents.lineOpened(id);
    } catch (error) {
      this.#close(line);
      throw error;
    }
    return line;
  }

  #close(line: Line): void {
    const { id } = line.agent;
    line.close();
    if (this.#lines.get(id) !== line) return;
    this.#lines.delete(id);
    line.outbox.endOfLine();
    if (line.outbox.isEmpty) this.#outboxes.delete(id);
    this.#agents.lineClosed(id);
  }

  /** Takes what comes in until that ends; whatever goes wrong ends the line with it. */
  async #read(line: Line, input: AsyncIterable<LineInput>): Promise<void> {
    try {
      for await (const one of untilAborted(input, line.over)) {
        this.#agents.saw(line.agent.id);
        this.#tellRoom(line.agent.id);
        if (one.kind === "heartbeat") line.answer({ kind: "heartbeat" });
        else await this.#take(line, one.message);
        await line.roomForAnswers();
      }
      line.finish();
    } catch (error) {
      line.fail(error);
    }
  }

  /** A message that can't be passed on is answered with an error; one that is wrong in itself ends the line. */
  async #take(line: Line, draft: AgentMessageDraft): Promise<void> {
    const { agent } = line;
    const violations = messageViolations(draft);
    if (violations.length > 0) throw invalid("take a message", violations);
    if (draft.sourceId !== "" && draft.sourceId !== agent.id) throw forged(agent.id, draft.sourceId);
    const targetId = draft.targetId === "" ? orchestrator : draft.targetId;
    const at = this.#options.clock();
    const message = completeMessage(draft, { at, sourceId: agent.id, targetId });
    checkSize(message, this.#options.limits);
    try {
      await this.route(message, agent);
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      line.answer({ kind: "message", message: notDelivered(message, error, at) });
    }
  }

  #follow({ kind, agent }: AgentChange): void {
    if (kind !== "lost" && kind !== "unregistered") return;
    const line = this.#lines.get(agent.id);
    if (line !== undefined) {
      line.fail(unregistered(agent, "go on with the line of agent"));
      this.#close(line);
    }
    const outbox = this.#outboxes.get(agent.id);
    this.#outboxes.delete(agent.id);
    for (const message of outbox?.drain() ?? []) this.#tellSender(message, agent);
  }

  /** Tells an agent that what it has sent was not read before its receiver was gone, if it can be told. */
  #tellSender(message: AgentMessage, gone: Agent): void {
    const sender = this.#lines.get(message.sourceId as AgentId); // what is no agent's id has no line
    if (sender === undefined) return;
    const answer = notDelivered(message, unread(gone.id), this.#options.clock());
    if (sender.outbox.problemOf(answer) !== undefined) return; // it does not read what it is told
    sender.outbox.pass(answer);
    sender.wake();
  }

  #tellRoom(id: AgentId): void {
    for (const listener of this.#roomListeners) listener(id);
  }

  #unreachable(id: AgentId): Failure {
    const doing = `Cannot pass a message to agent "${id}"`;
    const metadata = { agent_id: id };
    return this.#agents.isLive(id)
      ? new Failure("not_found", `${doing}: it has no line open`, { reason: "AGENT_NOT_CONNECTED", metadata })
      : new Failure("not_found", `${doing}: no agent with this id is live`, {
          reason: "AGENT_NOT_FOUND",
          metadata,
        });
  }
}

function checkSize(message: AgentMessage, { maxBytes }: OutboxLimits): void {
  const bytes = messageBytes(message);
  if (bytes <= maxBytes) return;
  const description = `has ${bytes} bytes; at most ${maxBytes} are allowed`;
  throw invalid("pass a message on", [{ field: "message", description }]);
}

function queueFull(id: AgentId, problem: string): Failure {
  return new Failure("resource_exhausted", `Cannot pass a message to agent "${id}": ${problem}`, {
    reason: "AGENT_QUEUE_FULL",
    metadata: { agent_id: id },
    retryAfterMs: 1_000,
  });
}

function replaced(id: AgentId): Failure {
  return new Failure(
    "aborted",
    `Cannot go on with the line of agent "${id}": the agent has opened another one`,
    {
      reason: "LINE_REPLACED",
      metadata: { agent_id: id },
    },
  );
}

function forged(id: AgentId, sourceId: string): Failure {
  const description = `is "${sourceId.slice(0, 64)}"; on this line it is "${id}", or empty`;
  return new Failure("invalid_argument", `Cannot take a message: message.source_id ${description}`, {
    reason: "SOURCE_NOT_YOURS",
    violations: [{ field: "message.source_id", description }],
    metadata: { agent_id: id },
  });
}

function unread(id: AgentId): Failure {
  return new Failure("not_found", `Cannot pass a message to agent "${id}": it is gone and has not read it`, {
    reason: "AGENT_NOT_FOUND",
    metadata: { agent_id: id },
  });
}
