import { Failure, type FailureKind } from "../../failure.ts";
import type { Dialect } from "./dialect.ts";

/** What was being done, for the message: `start container "4f1c…"`. */
export interface Doing {
  readonly doing: string;
  readonly endpoint: string;
}

/** What a status of the engine means where that is not the usual, be it by its words. */
export type RefusalKinds = Readonly<Record<number, FailureKind | ((words: string) => FailureKind)>>;

export interface RefusalWords {
  readonly kinds?: RefusalKinds | undefined;
  /** Those of the engine's dialect, which go before. */
  readonly refusals?: Dialect["refusals"];
}

/** The Failure for whatever a call to the engine threw: its refusal, or that it can't be reached. */
export function engineFailure(
  error: unknown,
  at: Doing,
  { kinds = {}, refusals = [] }: RefusalWords = {},
): Failure {
  if (error instanceof Failure) return error;
  const refusal = readRefusal(error);
  if (refusal === undefined) return unreachable(at, whyUnreachable(error), error);
  const words = plainWords(refusal.words) || `the engine gives no reason (${refusal.status})`;
  if (WANTS_TLS.test(words)) return unreachable(at, "it takes TLS alone: set DOCKER_TLS_VERIFY", error);
  const spoken = refusals.find(([fits]) => fits.test(refusal.words.trim()));
  const kind = spoken?.[1] ?? refusalKind(refusal.status, words, kinds);
  if (refusal.status === 502 || refusal.status === 503) {
    return unreachable(at, `it answers ${refusal.status}: ${words}`, error);
  }
  if (kind === "unavailable" && kinds[refusal.status] === undefined) {
    const said = `Cannot ${at.doing}: the container engine at ${at.endpoint} answers ${refusal.status}: ${words}`;
    return new Failure(kind, said, {
      reason: "RUNTIME_ERROR",
      metadata: { endpoint: at.endpoint },
      cause: error,
    });
  }
  return new Failure(kind, `Cannot ${at.doing}: ${words}`, { cause: error });
}

/**
 * What a 404 means of a container: that it is gone, only in an engine's words. What else answers at its address while it is
 * away (a proxy, another server) knows nothing of containers.
 */
export const goneOnlyInWords: RefusalKinds = {
  404: (words) => (/no such container|no container with/i.test(words) ? "not_found" : "unavailable"),
};

/** The Failure that says that there is no engine to talk to, where, and why. */
export function unreachable(at: Doing, why: string, cause?: unknown): Failure {
  return new Failure(
    "unavailable",
    `Cannot ${at.doing}: the container engine at ${at.endpoint} can't be used: ${why}`,
    {
      reason: "RUNTIME_UNAVAILABLE",
      metadata: { endpoint: at.endpoint },
      cause,
    },
  );
}

/** The engine's words without the chain of components that passed them on, and with ids cut to 12 characters. */
export function plainWords(words: string): string {
  let rest = words.trim().replace(/\b([0-9a-f]{12})[0-9a-f]{52}\b/g, "$1");
  for (;;) {
    const shorter = rest.replace(PREAMBLE, "").replace(EPILOGUE, "");
    if (shorter === rest || shorter === "") return rest;
    rest = shorter;
  }
}

const PREAMBLE = new RegExp(
  `^(?:${[
    "error response from daemon: ",
    "Error: ",
    "cannot \\w+ container:? \\S+: ",
    "failed to create (?:shim|shim task|task for container|task): ",
    "OCI runtime \\w+ failed: ",
    "(?:runc|crun|runsc|kata)(?: \\w+ failed)?: ",
    "\\w+\\.go:\\d+: ",
    "(?:unable to start|starting) (?:container|init|setns) process(?: caused)?: ",
    "process_linux\\.go:\\d+: ",
    "exec failed: ",
    "error during container init: ",
    "container init caused: ",
    "rpc error: code = \\w+ desc = ",
    "container create: ",
    "running container create option: ",
    "creating container storage: ",
    "error during bulk transfer for copier\\.request\\{.*\\}: (?=copier: )",
    'copier: put: (?:error creating (?:\\w+ at )?"[^"]*": )?',
  ].join("|")})`,
  "i",
);

/** How engines answer who speaks HTTP where they speak HTTPS; with the status 400, as if something were wrong in the call. */
const WANTS_TLS = /^client sent an HTTP request to an HTTPS server/i;

/** What they add at the end that says it again. */
const EPILOGUE =
  /: (?:unknown|OCI (?:runtime error|permission denied)|OCI runtime attempted to invoke a command that was not found|container state improper|that name is already in use|network (?:already exists|not found)|invalid argument)$/;

function refusalKind(status: number, words: string, kinds: RefusalKinds): FailureKind {
  if (/no space left on device|disk quota exceeded/i.test(words)) return "resource_exhausted";
  if (/no such (container|image|exec)/i.test(words)) return "not_found";
  const special = kinds[status];
  if (special !== undefined) return typeof special === "function" ? special(words) : special;
  switch (status) {
    case 400:
      return "invalid_argument";
    case 404:
      return "not_found";
    case 401:
    case 403:
    case 405:
    case 409:
    case 501:
      return "failed_precondition";
    default:
      return /is not running|is paused|is restarting|not paused|already paused/i.test(words)
        ? "failed_precondition"
        : "unavailable";
  }
}

function readRefusal(error: unknown): { readonly status: number; readonly words: string } | undefined {
  if (!(error instanceof Error) || !("statusCode" in error) || typeof error.statusCode !== "number")
    return undefined;
  const json = "json" in error ? error.json : undefined;
  if (typeof json === "object" && json !== null && "message" in json && typeof json.message === "string") {
    return { status: error.statusCode, words: json.message };
  }
  return { status: error.statusCode, words: error.message.replace(/^\(HTTP code \d+\) [\w /]+ - /, "") };
}

function whyUnreachable(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = "code" in error && typeof error.code === "string" ? error.code : "";
  switch (code) {
    case "ENOENT":
      return "there is no such socket (ENOENT)";
    case "ECONNREFUSED":
      return "nothing listens there (ECONNREFUSED)";
    case "EACCES":
    case "EPERM":
      return `this process may not open it (${code})`;
    case "ECONNRESET":
    case "EPIPE":
    case "ERR_STREAM_PREMATURE_CLOSE":
      return `it hung up (${code})`;
    default:
      return code === "" || error.message.includes(code) ? error.message : `${error.message} (${code})`;
  }
}
