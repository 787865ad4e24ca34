import type { Agents } from "../agents/agents.ts";
import type { Lines } from "../agents/lines.ts";
import { Chat } from "../chat/chat.ts";
import { GatewaySessions } from "../chat/gateway-sessions.ts";
import type { Messages } from "../messages/messages.ts";
import type { Sessions } from "../sessions/sessions.ts";
import type { DomainParts } from "./domain-parts.ts";
import { RareWords } from "./rare-words.ts";

/** Conversations, and the sessions of user interfaces. */
export interface ChatDomain {
  readonly chat: Chat;
  readonly gateways: GatewaySessions;
}

/** Takes up the turns that a server before this one has left, and begins to look after those that take too long. */
export async function startChat(
  { store, clock, config, supervisor, words, stopping }: DomainParts,
  domain: {
    readonly sessions: Sessions;
    readonly messages: Messages;
    readonly agents: Agents;
    readonly lines: Lines;
  },
): Promise<ChatDomain> {
  const { maxContentBytes } = config.messages;
  const odd = new RareWords((details) => words.warn("a message of an assistant counts for nothing", details));
  const chat = new Chat({
    ...domain,
    store,
    clock,
    monotonic: () => performance.now(),
    limits: { ...config.chat, maxAnswerBytes: maxContentBytes },
    stopping,
    touch: (id) => domain.sessions.touch(id),
    beside: config.assistant.beside === "on" ? "expected" : "none",
    odd: (why, { agent, message }) =>
      odd.say(agent.id, { agent: agent.id, why, correlation_id: message.metadata.correlationId }),
    trouble: (what, details) => words.warn(what, details),
  });
  await chat.takeUp();
  supervisor.keepUp("look after turns", (signal) => chat.watch(signal));
  supervisor.keepUp("tell chats that their sessions close", (signal) => chat.followClosings(signal));
  const limits = { session: config.sessions, maxContentBytes };
  return { chat, gateways: new GatewaySessions({ sessions: domain.sessions, chat, limits }) };
}
