import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { Client } from "../client/client.ts";
import type { ExecFrame as Frame } from "../client/exec-frame.ts";
import { FrameQueue } from "../client/frame-queue.ts";
import { Failure } from "../failure.ts";
import {
  type ExecContainerResponse,
  type ExecEnd,
  ExecStartSchema,
} from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { replay } from "./answered-by-terminals.ts";
import { DetachKeys } from "./detach-keys.ts";
import { leavingSignals, passedSignals, type SentSignals } from "./exec-signals.ts";
import { COMMAND_EXIT_CODES, SIGNAL_EXIT_CODES } from "./exit-codes.ts";
import type { Shell } from "./shell.ts";

/** How a command is connected with this process. */
export interface Connecting {
  readonly shell: Shell;
  /** Whether it gets stdin. */
  readonly interactive: boolean;
  /** Whether it has a terminal. */
  readonly tty: boolean;
  /** Bytes that leave it without ending it, typed one after the other; none: nothing does. */
  readonly detachKeys: Uint8Array;
}

export interface ExecSession extends Connecting {
  readonly start: Pick<
    MessageInitShape<typeof ExecStartSchema>,
    "containerId" | "command" | "env" | "workingDir" | "user" | "timeoutNs"
  >;
}

export interface AttachSession extends Connecting {
  readonly execId: string;
  /** The byte of its output to begin with; the oldest that is kept when absent. */
  readonly offset: bigint | undefined;
  /** How much it has written so far, in bytes. */
  readonly written: bigint;
}

/** How it ended for this process. */
export interface SessionEnd {
  readonly exitCode: number;
  /** The command, when it was left and goes on. */
  readonly left: string | undefined;
}

/**
 * Runs a command in a container with this process's stdin, stdout, stderr, signals and terminal, and gives the exit code
 * that it ended with. The terminal is as it was when it returns or throws.
 *
 * A signal is passed on to the command; a second one ends the command and the call. Who types into a terminal can leave
 * the command, which then goes on, as it does when this process is killed.
 */
export async function execWithShell(client: Client, session: ExecSession): Promise<SessionEnd> {
  const { shell, tty, interactive } = session;
  const size = tty ? shell.out.size() : undefined;
  const detachOnDisconnect = isTypedInto(session);
  const start = create(ExecStartSchema, {
    ...session.start,
    tty,
    stdin: interactive,
    detachOnDisconnect,
    ...(size && { size }),
  });
  const frames = new FrameQueue<Frame>();
  const stop = new AbortController();
  using signals = passedSignals(client, { shell, frames, stop, outlives: detachOnDisconnect });
  const requests = startedBy({ payload: { case: "start" as const, value: start } }, frames);
  const answers = client.orchestrator.execContainer(requests, { signal: stop.signal });
  return await follow(session, { answers, frames, stop, signals });
}

/** Joins a command that runs, or has ended. A signal to this process leaves it alone; else as `execWithShell`. */
export async function attachWithShell(client: Client, session: AttachSession): Promise<SessionEnd> {
  const { execId, offset } = session;
  const frames = new FrameQueue<Frame>();
  const stop = new AbortController();
  using signals = leavingSignals(session.shell, stop);
  const value = offset === undefined ? { execId } : { execId, offset };
  const requests = startedBy({ payload: { case: "start" as const, value } }, frames);
  const attached = client.orchestrator.attachExec(requests, { signal: stop.signal });
  await using _attached = attached;
  const onTerminal = session.tty && session.shell.out.isTerminal;
  const answers = onTerminal ? withoutQuestions(attached, session.written) : attached;
  return await follow(session, { answers, frames, stop, signals });
}

/** The output up to `written` has had its answers, when it was new. */
async function* withoutQuestions(
  answers: AsyncIterable<ExecContainerResponse>,
  written: bigint,
): AsyncGenerator<ExecContainerResponse> {
  const old = replay();
  for await (const answer of answers) {
    const { payload, offset } = answer;
    if (payload.case !== "stdout") {
      yield answer;
      continue;
    }
    const bytes = payload.value;
    const oldBytes = Number(written > offset ? written - offset : 0n);
    const shown = [old.take(bytes.subarray(0, oldBytes))];
    if (oldBytes < bytes.length) shown.push(old.rest(), bytes.subarray(oldBytes));
    yield { ...answer, payload: { case: "stdout", value: Buffer.concat(shown) } };
  }
}

/** Who wants to type needs a terminal to type on. */
export function checkTerminal({ in: input }: Shell, wanted: Pick<Connecting, "interactive" | "tty">): void {
  if (!wanted.tty || !wanted.interactive || input.isTerminal) return;
  const message = "Cannot give the command a terminal: stdin is none; leave out --tty";
  throw new Failure("failed_precondition", message);
}

async function* startedBy<Start>(start: Start, frames: FrameQueue<Frame>): AsyncGenerator<Start | Frame> {
  yield start;
  yield* frames;
}

interface Stream {
  readonly answers: AsyncIterable<ExecContainerResponse> & AsyncDisposable;
  readonly frames: FrameQueue<Frame>;
  /** Ends the call. */
  readonly stop: AbortController;
  readonly signals: SentSignals;
}

async function follow(session: Connecting, stream: Stream): Promise<SessionEnd> {
  const { shell } = session;
  const { frames, signals } = stream;
  let execId = "";
  let left: string | undefined;
  await using answers = stream.answers;
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(() => frames.close());
  const leave = () => {
    left = execId;
    stream.stop.abort(new Failure("cancelled", "Cannot go on with the command: it was left"));
  };
  try {
    for await (const { payload } of answers) {
      switch (payload.case) {
        case "started":
          execId = payload.value.execId;
          signals.begun(execId);
          connect(session, { ...stream, cleanup, leave });
          break;
        case "stdout":
          await shell.out.write(payload.value);
          break;
        case "stderr":
          await shell.err.write(payload.value);
          break;
        case "end":
          await cleanup.disposeAsync();
          return { exitCode: await exitCodeOfEnd(payload.value, shell), left: undefined };
      }
    }
  } catch (error) {
    if (left !== undefined) return { exitCode: 0, left };
    const ended = signals.ended();
    if (ended !== undefined)
      return { exitCode: SIGNAL_EXIT_CODES[ended], left: signals.leaves ? execId : undefined };
    if (UNREAD.has(Failure.from(error)?.details.reason ?? "")) await tellLeft(shell, execId);
    throw error;
  }
  throw new Failure("internal", "Cannot tell how the command ended: the server did not say it");
}

/** Why a call ends whose client reads too slowly, as on a terminal that was stopped; its command goes on. */
const UNREAD: ReadonlySet<string> = new Set(["STREAM_NOT_READ", "OUTPUT_NOT_KEPT"]);

/** Somebody sits at a terminal: they can leave the command, and find it again. */
function isTypedInto({ shell, tty, interactive }: Connecting): boolean {
  return tty && interactive && shell.in.isTerminal;
}

/** Connects stdin and the terminal; `cleanup` takes them off again. */
function connect(
  session: Connecting,
  to: Stream & { readonly cleanup: AsyncDisposableStack; readonly leave: () => void },
): void {
  const { shell, tty, interactive } = session;
  const { frames, cleanup, stop } = to;
  if (isTypedInto(session)) cleanup.use(shell.in.raw());
  if (tty) {
    const resize = (): void => {
      const size = shell.out.size();
      if (size !== undefined) void frames.push({ payload: { case: "resize", value: size } });
    };
    cleanup.use(shell.out.onResize(resize));
    resize(); // it may have changed since the start was sent
  }
  if (!interactive) return;
  const reading = new AbortController();
  cleanup.defer(() => reading.abort());
  pumpInput(session, { frames, leave: to.leave, signal: reading.signal }).catch((error: unknown) =>
    stop.abort(error),
  );
}

async function pumpInput(
  session: Connecting,
  to: { readonly frames: FrameQueue<Frame>; readonly leave: () => void; readonly signal: AbortSignal },
): Promise<void> {
  const { frames, signal, leave } = to;
  const keys = new DetachKeys(isTypedInto(session) ? session.detachKeys : new Uint8Array(0));
  for await (const chunk of session.shell.in.read(signal)) {
    const { passed, isDetached } = keys.take(chunk);
    if (passed.length > 0) await frames.push({ payload: { case: "stdin", value: passed } });
    if (isDetached) return leave();
  }
  if (!signal.aborted) await frames.push({ payload: { case: "closeStdin", value: {} } });
}

/** Says how to find a command again that was left. */
export async function tellLeft(shell: Shell, left: string | undefined): Promise<void> {
  if (left === undefined) return;
  const newline = shell.err.isTerminal ? "\n" : "";
  await shell.err.write(
    `${newline}Left the command, which goes on; to join it again:\nbaaaht exec attach ${left}\n`,
  );
}

/** The command's own code, or the one that stands for how else it ended; says on stderr what a code can't. */
async function exitCodeOfEnd({ how }: ExecEnd, shell: Shell): Promise<number> {
  switch (how.case) {
    case "exited":
      return how.value.code;
    case "signalled":
      return COMMAND_EXIT_CODES.signalled + how.value.number;
    case "timedOut":
      await shell.err.write(
        `The command was killed: its ${Number(how.value.timeoutNs / 1_000_000n) / 1000} s were over\n`,
      );
      return COMMAND_EXIT_CODES.timedOut;
    case "cancelled":
      throw new Failure("cancelled", `Cannot finish the command: ${how.value.reason}`);
    case "unknown":
      throw new Failure("unknown", `Cannot tell how the command ended: ${how.value.reason}`);
    default:
      throw new Failure("internal", "Cannot tell how the command ended: the server did not say it");
  }
}
