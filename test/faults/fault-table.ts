import type { FaultReport } from "./fault.ts";

/** The reports as a table for people: each fault, what was seen, and what was not true. */
export function faultTable(reports: readonly FaultReport[], again: string): string {
  const wide = Math.max(...reports.map(({ name }) => name.length));
  const lines = reports.flatMap(({ name, tookMs, notes, violations }) => {
    const outcome = violations.length === 0 ? "ok" : `${violations.length} untrue`;
    const head = `${name.padEnd(wide)}  ${outcome.padEnd(9)}  ${(tookMs / 1_000).toFixed(1).padStart(6)} s`;
    const indent = " ".repeat(4);
    return [
      head,
      ...notes.map((note) => `${indent}${note}`),
      ...violations.slice(0, 20).map((violation) => `${indent}!! ${violation}`),
    ];
  });
  const count = reports.reduce((sum, { violations }) => sum + violations.length, 0);
  return [...lines, `${reports.length} runs, ${count} things untrue; again with: ${again}`].join("\n");
}
