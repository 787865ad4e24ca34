import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { Client } from "../client/client.ts";
import { Failure } from "../failure.ts";
import {
  type ExecContainerRequestSchema,
  type ExecEnd,
  ExecStartSchema,
} from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { COMMAND_EXIT_CODES, SIGNAL_EXIT_CODES } from "./exit-codes.ts";
import { FrameQueue } from "./frame-queue.ts";
import type { Shell, StopSignal } from "./shell.ts";

export interface ExecSession {
  readonly start: Pick<
    MessageInitShape<typeof ExecStartSchema>,
    "containerId" | "command" | "env" | "workingDir" | "user" | "timeoutNs"
  >;
  readonly interactive: boolean;
  readonly tty: boolean;
  readonly shell: Shell;
}

type Frame = MessageInitShape<typeof ExecContainerRequestSchema>;

/**
 * Runs a command in a container with this process's stdin, stdout, stderr, signals and terminal, and gives the exit code
 * that it ended with. The terminal is as it was when it returns or throws.
 *
 * A signal is passed on to the command; a second one ends the command and the call.
 */
export async function execWithShell(client: Client, session: ExecSession): Promise<number> {
  const { shell, tty, interactive } = session;
  const frames = new FrameQueue<Frame>();
  const stop = new AbortController();
  using signals = passSignals(shell, { frames, stop });
  const size = tty ? shell.out.size() : undefined;
  const start = create(ExecStartSchema, { ...session.start, tty, stdin: interactive, ...(size && { size }) });
  void frames.push({ payload: { case: "start", value: start } });
  await using answers = client.orchestrator.execContainer(frames, { signal: stop.signal });
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(() => frames.close());
  try {
    for await (const { payload } of answers) {
      switch (payload.case) {
        case "started":
          attach(session, { frames, stop, cleanup });
          break;
        case "stdout":
          await shell.out.write(payload.value);
          break;
        case "stderr":
          await shell.err.write(payload.value);
          break;
        case "end":
          await cleanup.disposeAsync();
          return await exitCodeOfEnd(payload.value, shell);
      }
    }
  } catch (error) {
    const second = signals.second();
    if (second !== undefined) return SIGNAL_EXIT_CODES[second];
    throw error;
  }
  throw new Failure("internal", "Cannot tell how the command ended: the server did not say it");
}

/** Only who has a terminal can pass it on. */
export function checkTerminal({ in: input, out }: Shell, { tty }: { readonly tty: boolean }): void {
  if (!tty || (input.isTerminal && out.isTerminal)) return;
  const message = "Cannot give the command a terminal: stdin and stdout are not one; leave out --tty";
  throw new Failure("failed_precondition", message);
}

interface Attached {
  readonly frames: FrameQueue<Frame>;
  readonly stop: AbortController;
  readonly cleanup: AsyncDisposableStack;
}

/** Connects stdin and the terminal; `cleanup` takes them off again. */
function attach({ shell, tty, interactive }: ExecSession, { frames, stop, cleanup }: Attached): void {
  if (tty) {
    cleanup.use(shell.in.raw());
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
  pumpInput(shell, { frames, signal: reading.signal }).catch((error: unknown) => stop.abort(error));
}

async function pumpInput(
  shell: Shell,
  { frames, signal }: { readonly frames: FrameQueue<Frame>; readonly signal: AbortSignal },
): Promise<void> {
  for await (const chunk of shell.in.read(signal)) {
    await frames.push({ payload: { case: "stdin", value: chunk } });
  }
  if (!signal.aborted) await frames.push({ payload: { case: "closeStdin", value: {} } });
}

interface PassedSignals extends Disposable {
  /** The signal that ended the call; undefined when none did. */
  readonly second: () => StopSignal | undefined;
}

function passSignals(
  shell: Shell,
  { frames, stop }: { readonly frames: FrameQueue<Frame>; readonly stop: AbortController },
): PassedSignals {
  let first: StopSignal | undefined;
  let second: StopSignal | undefined;
  const listening = shell.onSignals(["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"], (signal) => {
    if (first !== undefined && second !== undefined) shell.endNow(SIGNAL_EXIT_CODES[signal]);
    if (first === undefined) {
      first = signal;
      void frames.push({ payload: { case: "signal", value: signal } });
    } else {
      second = signal;
      stop.abort(new Failure("cancelled", `Cannot finish the command: it was ended by a second ${signal}`));
    }
  });
  return { second: () => second, [Symbol.dispose]: () => listening[Symbol.dispose]() };
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
