import type { Client } from "../../src/client/client.ts";
import {
  type Message,
  type Session,
  SessionState,
  SessionStateSchema,
} from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { enumName } from "./enum-name.ts";
import { contentOf, type SentMessage } from "./journal.ts";
import { allMessages } from "./listings.ts";
import type { KnownSession, SessionModel } from "./session-model.ts";
import type { Violations } from "./violations.ts";

/** Every session that was acknowledged is listed, none twice, and none that nobody has asked for. */
export function checkListing(
  sessions: readonly Session[],
  model: SessionModel,
  violations: Violations,
): void {
  const byName = new Map<string, Session>();
  for (const session of sessions) {
    const name = session.metadata?.name ?? "";
    violations.unless(!byName.has(name), () => `session "${name}" is there twice`);
    violations.unless(model.created.has(name), () => `session "${name}" is there, and nobody made it`);
    byName.set(name, session);
  }
  for (const { op, outcome } of model.created.values()) {
    if (outcome.kind === "refused") violations.add(`session "${op}" was refused: ${outcome.status}`);
    if (outcome.kind !== "acknowledged") continue;
    const found = byName.get(op);
    violations.unless(
      found?.id === outcome.id,
      () => `session "${op}" (${outcome.id}) is lost; found ${found?.id}`,
    );
  }
}

/** One session is as its clients know it. Gives the ids of its messages in their order. */
export async function checkSession(
  client: Client,
  session: Session,
  known: KnownSession,
  violations: Violations,
): Promise<readonly string[]> {
  checkState(session, known, violations);
  checkRevision(session, known, violations);
  const { rows, total } = await allMessages(client, session.id);
  violations.unless(
    total === rows.length,
    () => `session ${session.id} says it has ${total} messages and lists ${rows.length}`,
  );
  checkMessages(rows, known, { session, violations });
  return rows.map(({ id }) => id);
}

function checkState(session: Session, { close }: KnownSession, violations: Violations): void {
  const is = enumName(SessionStateSchema, session.state);
  if (close?.outcome.kind === "acknowledged") {
    violations.unless(
      session.state === SessionState.CLOSED && session.closeReason === close.reason,
      () => `session ${session.id} was closed (acknowledged) and is ${is} (${session.closeReason})`,
    );
  } else if (close === undefined) {
    violations.unless(
      session.state === SessionState.ACTIVE,
      () => `session ${session.id}, closed by nobody, is ${is}`,
    );
  }
}

function checkRevision(session: Session, { updates }: KnownSession, violations: Violations): void {
  const acknowledged = updates.findLast(({ outcome }) => outcome.kind === "acknowledged")?.revision ?? 0;
  const sent = updates.at(-1)?.revision ?? 0;
  const found = Number(session.metadata?.description);
  violations.unless(
    found >= acknowledged && found <= sent,
    () => `session ${session.id} has revision ${found}; acknowledged is ${acknowledged}, sent ${sent}`,
  );
}

function checkMessages(
  rows: readonly Message[],
  known: KnownSession,
  { session, violations }: { readonly session: Session; readonly violations: Violations },
): void {
  const places = new Map(rows.map(({ id }, place) => [id, place]));
  violations.unless(places.size === rows.length, () => `session ${session.id} lists a message id twice`);
  const sent = new Map(known.messages.map((message) => [message.op, message]));
  const seen = new Set<string>();
  for (const { id, content } of rows) {
    const op = content.slice(0, content.indexOf(" "));
    const message = sent.get(op);
    violations.unless(!seen.has(op), () => `message "${op}" is in session ${session.id} twice`);
    violations.unless(
      message !== undefined && content === contentOf(op, message.size),
      () => `message ${id} of session ${session.id} is torn, or nobody sent it: ${content.slice(0, 60)}`,
    );
    seen.add(op);
  }
  const lastOf = new Map<string, number>();
  for (const message of known.messages) checkPlace(message, { rows, places, lastOf, violations });
}

function checkPlace(
  { op, sender, sessionId, outcome }: SentMessage,
  listed: {
    readonly rows: readonly Message[];
    readonly places: ReadonlyMap<string, number>;
    readonly lastOf: Map<string, number>;
    readonly violations: Violations;
  },
): void {
  if (outcome.kind !== "acknowledged") return;
  const { rows, places, lastOf, violations } = listed;
  const place = places.get(outcome.id);
  const content = place === undefined ? undefined : rows[place]?.content;
  if (place === undefined || content?.startsWith(`${op} `) !== true) {
    violations.add(
      `message "${op}" (${outcome.id}) of session ${sessionId} is lost; in its place: ${content?.slice(0, 60)}`,
    );
    return;
  }
  violations.unless(
    place > (lastOf.get(sender) ?? -1),
    () => `message "${op}" of session ${sessionId} comes before one that was acknowledged before it was sent`,
  );
  lastOf.set(sender, place);
}
