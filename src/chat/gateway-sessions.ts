import type { Call } from "../call.ts";
import type { SentDraft } from "../messages/messages.ts";
import type { SessionId } from "../sessions/session.ts";
import { gatewaySource } from "../sessions/session-rules.ts";
import type { SessionPage, Sessions } from "../sessions/sessions.ts";
import type { Listing } from "../store/store.ts";
import type { Chat, Said } from "./chat.ts";
import {
  admitCaller,
  checkMessageSize,
  type GatewayCaller,
  type GatewayLimits,
  type GatewaySession,
  gatewaySession,
  sessionOf,
  type WantedGateway,
} from "./gateway-session.ts";

/** The use cases of sessions that user interfaces open. Each is a session: it ends when that ends, and ends that with it. */
export class GatewaySessions {
  readonly #sessions: Sessions;
  readonly #chat: Chat;
  readonly #limits: GatewayLimits;

  constructor(parts: { readonly sessions: Sessions; readonly chat: Chat; readonly limits: GatewayLimits }) {
    this.#sessions = parts.sessions;
    this.#chat = parts.chat;
    this.#limits = parts.limits;
  }

  /** Failures: as `Sessions.create`. */
  async create(wanted: WantedGateway, idempotencyKey: string, call: Call): Promise<GatewaySession> {
    const session = await this.#sessions.create({ ...sessionOf(wanted, this.#limits), idempotencyKey }, call);
    return gatewaySession(session, session.id);
  }

  /** The session, for a caller that may use it. Failures: NOT_FOUND, UNAUTHENTICATED, PERMISSION_DENIED. */
  async get(id: SessionId, caller: GatewayCaller): Promise<GatewaySession> {
    const session = gatewaySession(await this.#sessions.get(id), id);
    admitCaller(session, caller);
    return session;
  }

  /** Gateway sessions, newest first. */
  async list({ filter, ...page }: SessionPage): Promise<Listing<GatewaySession>> {
    const listing = await this.#sessions.list({ ...page, filter: { ...filter, of: "gateway" } });
    return { ...listing, rows: listing.rows.map((session) => gatewaySession(session, session.id)) };
  }

  /** Failures: as `get`. */
  async close(
    id: SessionId,
    close: { readonly reason: string; readonly caller: GatewayCaller },
    call: Call,
  ): Promise<GatewaySession> {
    await this.get(id, close.caller);
    const session = await this.#sessions.close(id, { reason: close.reason, source: gatewaySource }, call);
    return gatewaySession(session, id);
  }

  /** Failures: as `Chat.send`; INVALID_ARGUMENT also when the message is larger than the session allows. */
  async send(session: GatewaySession, sent: SentDraft, call: Call): Promise<Said> {
    checkMessageSize(session, sent.draft.content);
    return await this.#chat.send(session.id, { ...sent, source: gatewaySource }, call);
  }
}
