import { canonicalJson } from "../canonical-json.ts";
import type { Instant } from "../events/event.ts";
import { Failure } from "../failure.ts";
import type { Table } from "./table.ts";

/** What a request with an idempotency key was answered, so that the same request gets the same answer again. */
export interface Answer {
  readonly key: string;
  /** Tells the same content from other content. */
  readonly fingerprint: string;
  /** The id of what the first request made. */
  readonly subject: string;
  readonly expiresAt: Instant;
}

export const answerTable: Table<Answer> = {
  name: "answers",
  bigints: "none",
  key: (answer) => answer.key,
  columns: { expiresAt: (answer) => answer.expiresAt },
};

/** How long a key is remembered, in milliseconds. */
const answerLifeMs = 24 * 3_600_000;

/** A request's idempotency key, in force for one kind of request of one scope (a session, or everybody). */
export interface OnceKey {
  /** The row of `answerTable` to load; made of kind, scope and the client's key. */
  readonly row: string;
  readonly key: string;
  readonly fingerprint: string;
}

/** @param content what the request asks for, without its key; plain data */
export function onceKey(
  key: string,
  options: { readonly kind: string; readonly scope: string; readonly content: unknown },
): OnceKey {
  const hash = new Bun.CryptoHasher("sha256").update(canonicalJson(options.content)).digest("hex");
  return { row: `${options.kind}/${options.scope}/${key}`, key, fingerprint: hash };
}

/**
 * The subject of the first request with this key, or `undefined` when this is the first.
 *
 * Failures: ALREADY_EXISTS when the key stands for other content.
 */
export function answered(answer: Answer | undefined, once: OnceKey, at: Instant): string | undefined {
  if (answer === undefined || answer.expiresAt <= at) return undefined;
  if (answer.fingerprint === once.fingerprint) return answer.subject;
  throw new Failure(
    "already_exists",
    `Cannot use idempotency_key "${once.key}": it stands for a request with other content`,
    {
      reason: "IDEMPOTENCY_KEY_REUSED",
      violations: [{ field: "idempotency_key", description: "must be new for new content" }],
    },
  );
}

/** The row to save with the first request's outcome. */
export function answerOf(once: OnceKey, subject: string, at: Instant): Answer {
  return { key: once.row, fingerprint: once.fingerprint, subject, expiresAt: at + answerLifeMs };
}
