import type { Client } from "../client/client.ts";
import type { ExecFrame } from "../client/exec-frame.ts";
import type { FrameQueue } from "../client/frame-queue.ts";
import { Failure } from "../failure.ts";
import { after } from "./after.ts";
import { SIGNAL_EXIT_CODES } from "./exit-codes.ts";
import type { Shell, StopSignal } from "./shell.ts";

/** What becomes of the signals that are sent to this process while it is connected with a command. */
export interface SentSignals extends Disposable {
  readonly begun: (execId: string) => void;
  /** The signal that has ended the call; undefined when none did. */
  readonly ended: () => StopSignal | undefined;
  /** Whether the command goes on then. */
  readonly leaves: boolean;
}

const SENT = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"] as const;

/** How long a command that outlives its call has to end by a signal to this process, in milliseconds. */
const HEED_WITHIN_MS = 2_000;

/** The first goes to the command, the second ends it and the call, the third this process. */
export function passedSignals(
  client: Client,
  of: {
    readonly shell: Shell;
    readonly frames: FrameQueue<ExecFrame>;
    readonly stop: AbortController;
    /** Whether the command goes on when its call is over, so that it has to be killed. */
    readonly outlives: boolean;
  },
): SentSignals {
  const { shell, frames, stop, outlives } = of;
  let execId: string | undefined;
  let first: StopSignal | undefined;
  let second: StopSignal | undefined;
  let patience: Disposable | undefined;
  const end = async (signal: StopSignal): Promise<void> => {
    second = signal;
    if (outlives && execId !== undefined) {
      await client.orchestrator.signalExec({ execId, signal: "KILL" }).catch(() => undefined);
    }
    stop.abort(new Failure("cancelled", `Cannot finish the command: it was ended by ${signal}`));
  };
  const listening = shell.onSignals(SENT, (signal) => {
    if (second !== undefined) shell.endNow(SIGNAL_EXIT_CODES[signal]);
    if (first !== undefined) return void end(signal);
    first = signal;
    void frames.push({ payload: { case: "signal", value: signal } });
    // A shell on a terminal pays no heed to SIGTERM, and whoever sends it wants this process to end.
    if (outlives) patience = after(HEED_WITHIN_MS, () => void (second === undefined && end(signal)));
  });
  return {
    begun: (id) => {
      execId = id;
    },
    ended: () => second,
    leaves: false,
    [Symbol.dispose]: () => {
      patience?.[Symbol.dispose]();
      listening[Symbol.dispose]();
    },
  };
}

/** The first ends the call, and leaves the command alone; the second ends this process. */
export function leavingSignals(shell: Shell, stop: AbortController): SentSignals {
  let ended: StopSignal | undefined;
  const listening = shell.onSignals(SENT, (signal) => {
    if (ended !== undefined) shell.endNow(SIGNAL_EXIT_CODES[signal]);
    ended = signal;
    stop.abort(new Failure("cancelled", `Cannot go on with the command: it was left by ${signal}`));
  });
  return {
    begun: () => undefined,
    ended: () => ended,
    leaves: true,
    [Symbol.dispose]: () => listening[Symbol.dispose](),
  };
}
