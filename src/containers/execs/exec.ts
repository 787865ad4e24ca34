import type { Instant } from "../../events/event.ts";
import type { FieldViolation } from "../../failure.ts";
import type { ExecSpec } from "../../runtime/runtime.ts";
import type { SessionId } from "../../sessions/session.ts";
import type { Table } from "../../store/table.ts";
import type { ContainerId } from "../container.ts";

export type ExecId = string & { readonly __brand: "ExecId" };

/** A command: the row is there from before its first output until some time after its end. */
export interface Exec {
  readonly id: ExecId;
  readonly containerId: ContainerId;
  readonly sessionId: SessionId;
  /** Its first words, cut. */
  readonly command: readonly string[];
  readonly startedAt: Instant;
  readonly tty: boolean;
  readonly stdin: boolean;
  readonly onDisconnect: OnDisconnect;
  readonly life: ExecLife;
}

/** What becomes of a command whose caller is cut off. */
type OnDisconnect = "kill" | "detach";

export type ExecLife =
  | { readonly state: "running" }
  | {
      readonly state: "ended";
      readonly end: ExecEnd;
      readonly endedAt: Instant;
      /** How many bytes it had written; null when nobody knows any more. */
      readonly outputBytes: number | null;
    };

export const execTable: Table<Exec> = {
  name: "execs",
  bigints: "some",
  key: (exec) => exec.id,
  columns: {
    containerId: (exec) => exec.containerId,
    sessionId: (exec) => exec.sessionId,
    state: (exec) => exec.life.state,
    endedAt: (exec) => (exec.life.state === "ended" ? exec.life.endedAt : null),
  },
};

/** How an exec ended: exactly one of these, always. */
export type ExecEnd =
  | { readonly kind: "exited"; readonly code: number }
  /** By a signal that its caller sent. */
  | { readonly kind: "signalled"; readonly signal: string; readonly number: number }
  | { readonly kind: "timed_out"; readonly timeoutNs: bigint }
  | { readonly kind: "cancelled"; readonly reason: string }
  | { readonly kind: "unknown"; readonly reason: string };

/** What the caller of an exec sends while it runs. */
export type ExecInput =
  | { readonly kind: "stdin"; readonly data: Uint8Array }
  | { readonly kind: "close_stdin" }
  | { readonly kind: "resize"; readonly columns: number; readonly rows: number }
  | { readonly kind: "signal"; readonly name: string };

/** What the caller of an exec gets: `started` first, `end` last. `offset` is the frame's place in the command's output. */
export type ExecOutput = { readonly offset: number } & (
  | { readonly kind: "started"; readonly id: ExecId }
  | { readonly kind: "stdout" | "stderr"; readonly data: Uint8Array }
  | { readonly kind: "end"; readonly end: ExecEnd; readonly at: Instant }
);

/** What an exec is to run. */
export interface ExecStart extends ExecSpec {
  readonly containerId: ContainerId;
  /** Nanoseconds; 0n is without end. */
  readonly timeoutNs: bigint;
  readonly onDisconnect: OnDisconnect;
}

/** The signals that can be sent, by the name without SIG, with Linux's numbers. */
const signalNumbers: Readonly<Record<string, number>> = {
  HUP: 1,
  INT: 2,
  QUIT: 3,
  KILL: 9,
  USR1: 10,
  USR2: 12,
  TERM: 15,
  CONT: 18,
  STOP: 19,
  TSTP: 20,
  WINCH: 28,
};

/** The number of a signal by its name (`TERM`, `SIGTERM`, `term`) or number (`15`); `undefined` when it is none of ours. */
export function signalOf(name: string): { readonly name: string; readonly number: number } | undefined {
  const plain = name.toUpperCase().replace(/^SIG/, "");
  const entry = Object.entries(signalNumbers).find(
    ([known, number]) => known === plain || String(number) === plain,
  );
  return entry && { name: entry[0], number: entry[1] };
}

/** The most words, and bytes of words and environment, of an exec: what the kernel takes, roughly. */
const maxWords = 4_096;
const maxArgumentBytes = 2 * 1024 * 1024;
/** The most bytes of one word, and of one variable with its name and `=`: Linux's MAX_ARG_STRLEN, without the NUL. */
const maxWordBytes = 128 * 1024 - 1;

/** What is wrong with a start frame; empty when nothing is. */
export function startViolations(start: ExecStart): readonly FieldViolation[] {
  const violations: FieldViolation[] = [];
  const add = (field: string, description: string) =>
    violations.push({ field: `start.${field}`, description });
  if (start.command.length === 0 || start.command[0] === "") add("command", "is empty; name a program");
  if (start.command.length > maxWords)
    add("command", `has ${start.command.length} words; at most ${maxWords} are allowed`);
  const env = Object.entries(start.env);
  const words = [...start.command, ...env.flat(), start.workingDir, start.user];
  if (start.command.some((word) => Buffer.byteLength(word) > maxWordBytes))
    add("command", `has a word of more than ${maxWordBytes} bytes`);
  if (env.some(([name, value]) => Buffer.byteLength(name) + 1 + Buffer.byteLength(value) > maxWordBytes))
    add("env", `has a variable of more than ${maxWordBytes} bytes, its name and "=" included`);
  if (words.some((word) => word.includes("\0"))) add("command", "or env has a NUL character");
  if (env.some(([name]) => name === "" || name.includes("=")))
    add("env", "has a name that is empty or has '=' in it");
  const bytes = words.reduce((sum, word) => sum + Buffer.byteLength(word), 0);
  if (bytes > maxArgumentBytes)
    add("command", `and env have ${bytes} bytes; at most ${maxArgumentBytes} are allowed`);
  if (start.workingDir !== "" && !start.workingDir.startsWith("/"))
    add("working_dir", "is not an absolute path");
  if (start.timeoutNs < 0n) add("timeout_ns", `is ${start.timeoutNs}; it can't be negative (0: without end)`);
  return violations;
}
