import { Failure, type FailureKind } from "../failure.ts";
import { USAGE } from "./flag.ts";
import { ClosedOutput } from "./shell.ts";

/** Frozen: scripts rely on these numbers. */
export const EXIT_CODES = {
  ok: 0,
  /** A defect of the command line itself, or an output that takes no more. */
  defect: 1,
  /** The words or the configuration were wrong; nothing was done. */
  usage: 2,
  cancelled: 11,
  unknown: 12,
  invalid_argument: 13,
  deadline_exceeded: 14,
  not_found: 15,
  already_exists: 16,
  permission_denied: 17,
  resource_exhausted: 18,
  failed_precondition: 19,
  aborted: 20,
  out_of_range: 21,
  unimplemented: 22,
  internal: 23,
  unavailable: 24,
  data_loss: 25,
  unauthenticated: 26,
} as const satisfies Record<FailureKind | "ok" | "defect" | "usage", number>;

/** What `run` and `container exec` end with where it is not the command's own code. */
export const COMMAND_EXIT_CODES = {
  /** The command was killed because its time was over. */
  timedOut: 124,
  /** The command was not run, or how it ended can't be told. */
  failed: 125,
  /** The command is there and can't be run. */
  notExecutable: 126,
  /** There is no such command. */
  notFound: 127,
  /** Plus the signal's number: the command was killed by it. */
  signalled: 128,
} as const;

/** What `health` ends with, as grpc-health-probe does. */
export const HEALTH_EXIT_CODES = {
  serving: 0,
  usage: 1,
  cannotConnect: 2,
  callFailed: 3,
  notServing: 4,
} as const;

/** As shells say it of a program that SIGPIPE or SIGINT has ended. */
export const SIGNAL_EXIT_CODES = {
  SIGHUP: 129,
  SIGINT: 130,
  SIGQUIT: 131,
  SIGPIPE: 141,
  SIGTERM: 143,
} as const;

/** The exit code for what a command has thrown. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof ClosedOutput) return SIGNAL_EXIT_CODES.SIGPIPE;
  const failure = Failure.from(error);
  if (failure === undefined) return EXIT_CODES.defect;
  return isUsageFailure(failure) ? EXIT_CODES.usage : EXIT_CODES[failure.kind];
}

/** Whether it is a mistake of whoever called: in the words, or in the configuration, of which words are a part. */
export function isUsageFailure({ details: { reason } }: Failure): boolean {
  return reason === USAGE || CONFIGURATION_REASONS.has(reason ?? "");
}

/** The reasons with which a configuration is refused, by the server at its start or by the command line; see errors.md. */
const CONFIGURATION_REASONS: ReadonlySet<string> = new Set(["CONFIG_INVALID", "RUNTIME_ENDPOINT_INVALID"]);

/** The exit code for what keeps `run` and `container exec` from running a command, as shells have it. */
export function commandFailureCode(error: unknown): number {
  if (error instanceof ClosedOutput) return SIGNAL_EXIT_CODES.SIGPIPE;
  switch (Failure.from(error)?.details.reason) {
    case "COMMAND_NOT_FOUND":
      return COMMAND_EXIT_CODES.notFound;
    case "COMMAND_NOT_EXECUTABLE":
      return COMMAND_EXIT_CODES.notExecutable;
    default:
      return COMMAND_EXIT_CODES.failed;
  }
}
