import { SIGNAL_EXIT_CODES } from "./exit-codes.ts";
import type { Shell } from "./shell.ts";

/** The end of something that has work in hand. */
export interface StopTwice extends Disposable {
  /** Aborts with the first signal: what is at work may end. */
  readonly signal: AbortSignal;
  /** Aborts with the second: it is given up. */
  readonly hurry: AbortSignal;
}

/**
 * Ends by signals: the first drains, the second hurries, the third ends this process at once. With `untilEof` the end of
 * stdin, which is the end of whoever has started this, drains and hurries.
 */
export function stopTwice(shell: Shell, { untilEof }: { readonly untilEof: boolean }): StopTwice {
  const drain = new AbortController();
  const hurry = new AbortController();
  const reading = new AbortController();
  const listening = shell.onSignals(["SIGINT", "SIGTERM", "SIGHUP"], (signal) => {
    if (hurry.signal.aborted) shell.endNow(SIGNAL_EXIT_CODES[signal]);
    (drain.signal.aborted ? hurry : drain).abort();
  });
  const gone = (): void => {
    if (reading.signal.aborted) return;
    drain.abort();
    hurry.abort();
  };
  if (untilEof) void atEnd(shell, reading.signal).then(gone);
  return {
    signal: drain.signal,
    hurry: hurry.signal,
    [Symbol.dispose]: () => {
      reading.abort();
      listening[Symbol.dispose]();
    },
  };
}

/** Waits for the end of stdin, whatever is read until then. */
async function atEnd(shell: Shell, signal: AbortSignal): Promise<void> {
  try {
    for await (const _ of shell.in.read(signal)); // nothing is said there
  } catch {
    // What can't be read has ended.
  }
}
