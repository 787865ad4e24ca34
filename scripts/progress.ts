/** Tells a person what a long set-up is doing, one line a fact. */
export type Progress = (line: string) => void;

/** Prints to stderr, so that a command's own output stays clean. */
export const toStderr: Progress = (line) => {
  process.stderr.write(`${line}\n`);
};

/** Prints to stdout, for the commands whose output is the progress itself. */
export const toStdout: Progress = (line) => {
  process.stdout.write(`${line}\n`);
};

/** A duration as people read it: "340 ms", "12.4 s", "3 min 20 s". */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}
