import { APICallError, RetryError } from "ai";
import { Failure, type FailureKind } from "../failure.ts";
import { shownUrl, urlSecrets } from "./shown-url.ts";

/** Why a model's server could not be had or made no sense, in words for whoever has asked. No key or password is in them. */
export function modelFailure(
  error: unknown,
  { baseUrl, model, key }: { readonly baseUrl: string; readonly model: string; readonly key: string },
): Failure {
  if (error instanceof Failure) return error;
  const last = RetryError.isInstance(error) ? error.lastError : error;
  const status = statusOf(last);
  const { kind, reason, hint } = meaningOf(status);
  const words = inOneLine(without([key, ...urlSecrets(baseUrl)], wordsOf(last)));
  const what = status === undefined ? words : `it answers ${status} (${words})`;
  return new Failure(kind, `Cannot ask the model "${model}" at ${shownUrl(baseUrl)}: ${what}${hint}`, {
    reason,
    ...retryAfter(last),
  });
}

interface Meaning {
  readonly kind: FailureKind;
  readonly reason: string;
  /** Behind the server's words. */
  readonly hint: string;
}

function meaningOf(status: number | undefined): Meaning {
  switch (status) {
    case undefined:
      return { kind: "unavailable", reason: "MODEL_FAILED", hint: "" };
    case 401:
    case 403:
      return {
        kind: "permission_denied",
        reason: "MODEL_KEY_REFUSED",
        hint: "; assistant.key-file or BAAAHT_ASSISTANT_KEY should hold a key that it takes",
      };
    case 404:
      return {
        kind: "not_found",
        reason: "MODEL_NOT_FOUND",
        hint: "; assistant.base-url should end as its documentation says, mostly in /v1, and assistant.model name a model that it has",
      };
    case 429:
      return { kind: "resource_exhausted", reason: "MODEL_BUSY", hint: "; try again later" };
    default:
      return status >= 500
        ? { kind: "unavailable", reason: "MODEL_FAILED", hint: "" }
        : { kind: "unknown", reason: "MODEL_REFUSED", hint: "" };
  }
}

function statusOf(error: unknown): number | undefined {
  if (typeof error !== "object" || error === null || !("statusCode" in error)) return undefined;
  // A 200 whose content then made no sense is no status to tell.
  return typeof error.statusCode === "number" && error.statusCode >= 400 ? error.statusCode : undefined;
}

function wordsOf(error: unknown): string {
  const said = error instanceof Error ? error.message : String(error);
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : "";
  return APICallError.isInstance(error) && cause !== "" && !said.includes(cause) ? `${said}: ${cause}` : said;
}

/** Not too long: some servers answer with a page. */
function inOneLine(words: string): string {
  const line = words.replace(/\s+/g, " ").trim();
  return line.length > MAX_WORDS ? `${line.slice(0, MAX_WORDS)}...(cut)` : line;
}

const MAX_WORDS = 500;

function without(secrets: readonly string[], words: string): string {
  return secrets.reduce(
    (rest, secret) => (secret === "" ? rest : rest.replaceAll(secret, "(the key)")),
    words,
  );
}

function retryAfter(error: unknown): { readonly retryAfterMs?: number } {
  const headers = APICallError.isInstance(error) ? error.responseHeaders : undefined;
  const seconds = Number(headers?.["retry-after"] ?? Number.NaN);
  return Number.isFinite(seconds) && seconds >= 0 ? { retryAfterMs: Math.ceil(seconds * 1000) } : {};
}
