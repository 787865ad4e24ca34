import type { Usage } from "../containers/usage.ts";
import type { Activity, Session, SessionId } from "../sessions/session.ts";
import type { Encoded } from "./encoded.ts";

/** What an answer of GetSession is made of, besides the messages. */
export interface SessionAnswerParts {
  readonly session: Session;
  readonly activity: Activity | undefined;
  readonly messageLimit: number;
  /** What its containers were last seen to use. */
  readonly usages: readonly Usage[];
}

/** Bounds the memory that kept answers take to 16 MB. */
const maxAnswers = 1_024;
const maxAnswerBytes = 16_384;

/**
 * The latest answers of GetSession, so that a client that asks again and again does not have the same bytes made again.
 *
 * Rows are immutable, and a message is saved together with a new activity row: while both rows are still the same
 * objects, and the last readings of its containers are, so is the answer.
 */
export class SessionAnswers {
  readonly #kept = new Map<SessionId, { readonly parts: SessionAnswerParts; readonly answer: Encoded }>();

  get(parts: SessionAnswerParts): Encoded | undefined {
    const kept = this.#kept.get(parts.session.id);
    if (kept?.parts.session !== parts.session || kept.parts.activity !== parts.activity) return undefined;
    if (!areSame(kept.parts.usages, parts.usages)) return undefined;
    return kept.parts.messageLimit === parts.messageLimit ? kept.answer : undefined;
  }

  keep(parts: SessionAnswerParts, answer: Encoded): void {
    const { id } = parts.session;
    this.#kept.delete(id);
    if (answer.bytes.byteLength > maxAnswerBytes) return;
    this.#kept.set(id, { parts, answer });
    if (this.#kept.size <= maxAnswers) return;
    const oldest = this.#kept.keys().next();
    if (!oldest.done) this.#kept.delete(oldest.value);
  }
}

function areSame(some: readonly Usage[], others: readonly Usage[]): boolean {
  return some.length === others.length && some.every((usage, at) => usage === others[at]);
}
