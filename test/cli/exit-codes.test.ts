import { expect, test } from "bun:test";
import {
  COMMAND_EXIT_CODES,
  commandFailureCode,
  EXIT_CODES,
  exitCodeOf,
  HEALTH_EXIT_CODES,
  SIGNAL_EXIT_CODES,
} from "../../src/cli/exit-codes.ts";
import { problem } from "../../src/cli/flag.ts";
import { ClosedOutput, FailedOutput } from "../../src/cli/shell.ts";
import { Failure } from "../../src/failure.ts";
import { STATUS_CODES } from "../../src/status-codes.ts";

// Scripts rely on these numbers: a change here is a change of the product's contract.
test("EXIT_CODES are frozen", () => {
  expect(EXIT_CODES).toEqual({
    ok: 0,
    defect: 1,
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
  });
  expect(COMMAND_EXIT_CODES).toEqual({
    timedOut: 124,
    failed: 125,
    notExecutable: 126,
    notFound: 127,
    signalled: 128,
  });
  expect(HEALTH_EXIT_CODES).toEqual({ serving: 0, usage: 1, cannotConnect: 2, callFailed: 3, notServing: 4 });
  expect(SIGNAL_EXIT_CODES).toEqual({ SIGHUP: 129, SIGINT: 130, SIGQUIT: 131, SIGPIPE: 141, SIGTERM: 143 });
});

test("exitCodeOf() is 10 and the number of the gRPC status", () => {
  for (const [kind, code] of Object.entries(STATUS_CODES)) {
    // The keys of STATUS_CODES are the kinds.
    expect(exitCodeOf(new Failure(kind as keyof typeof STATUS_CODES, "no"))).toBe(10 + code);
  }
});

test("exitCodeOf() knows mistakes in the words, defects and closed outputs", () => {
  expect(exitCodeOf(problem("unknown flag"))).toBe(2);
  expect(exitCodeOf(new Failure("invalid_argument", "no", { reason: "CONFIG_INVALID" }))).toBe(2);
  expect(exitCodeOf(new FailedOutput("Cannot write to stdout"))).toBe(1);
  expect(exitCodeOf(new TypeError("x is not a function"))).toBe(1);
  expect(exitCodeOf(new ClosedOutput())).toBe(141);
});

test("commandFailureCode() is never one that the command may have ended with", () => {
  expect(commandFailureCode(problem("unknown flag"))).toBe(125);
  expect(commandFailureCode(new Failure("not_found", "no"))).toBe(125);
  expect(commandFailureCode(new ClosedOutput())).toBe(141);
});
