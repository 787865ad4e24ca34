import { after } from "./after.ts";
import { EXIT_CODES, SIGNAL_EXIT_CODES } from "./exit-codes.ts";
import type { Shell } from "./shell.ts";

/** The end of something that would go on by itself: by Ctrl-C, by another signal, or by its time. */
export interface Stop extends Disposable {
  readonly signal: AbortSignal;
  /** What the process ends with when it was stopped; undefined while it was not. */
  readonly exitCode: () => number | undefined;
  /** The same, for what has nothing more to show: on a terminal it begins a line behind the `^C` that Ctrl-C shows. */
  readonly ended: () => Promise<number | undefined>;
}

/** `timeoutMs` undefined or 0 is without end. A second signal ends the process at once. */
export function stopOnSignals(shell: Shell, timeoutMs: number | undefined): Stop {
  const controller = new AbortController();
  let exitCode: number | undefined;
  const end = (code: number): void => {
    exitCode ??= code;
    controller.abort();
  };
  const listening = shell.onSignals(["SIGINT", "SIGTERM", "SIGHUP"], (signal) => {
    if (exitCode !== undefined) shell.endNow(SIGNAL_EXIT_CODES[signal]);
    end(SIGNAL_EXIT_CODES[signal]);
  });
  const timer = after(timeoutMs, () => end(EXIT_CODES.deadline_exceeded));
  return {
    signal: controller.signal,
    exitCode: () => exitCode,
    ended: async () => {
      // A terminal that is gone is no reason to end otherwise.
      if (exitCode === SIGNAL_EXIT_CODES.SIGINT && shell.err.isTerminal)
        await shell.err.write("\n").catch(() => undefined);
      return exitCode;
    },
    [Symbol.dispose]: () => {
      timer[Symbol.dispose]();
      listening[Symbol.dispose]();
    },
  };
}
