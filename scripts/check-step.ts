import { resolve } from "node:path";
import type { Progress } from "./progress.ts";
import { runCommand } from "./run-command.ts";

export const ROOT = resolve(import.meta.dir, "..");

/** What a step may use, and what steps before it have found. */
export interface CheckContext {
  readonly progress: Progress;
  /** Given to every command of a step. Steps that set something up add to it. */
  readonly env: Record<string, string>;
  readonly signal: AbortSignal;
}

export interface CheckFailure {
  readonly name: string;
  readonly detail: string;
}

export interface CheckOutcome {
  readonly passed: number;
  readonly failures: readonly CheckFailure[];
}

/** One line of `check`. A step that is no test run counts as one check, passed or failed. */
export interface CheckStep {
  readonly name: string;
  run(context: CheckContext): Promise<CheckOutcome>;
}

/** Steps that need nothing of each other. */
export interface CheckStage {
  /** So many of them are begun in their order; each of the others when one has ended. */
  readonly atOnce: number;
  readonly steps: readonly CheckStep[];
}

export const PASSED: CheckOutcome = { passed: 1, failures: [] };

export function failed(name: string, detail: string): CheckOutcome {
  return { passed: 0, failures: [{ name, detail }] };
}

/** A step that passes when a command ends with 0. */
export function commandStep(name: string, command: readonly string[]): CheckStep {
  return {
    name,
    run: async ({ env, signal }) => {
      const done = await runCommand(command, { cwd: ROOT, env, signal });
      if (done.exitCode === 0) return PASSED;
      return failed(
        name,
        `${command.map(shortened).join(" ")} ended with ${done.exitCode}\n${done.output.trimEnd()}`,
      );
    },
  };
}

/** The command line of a script of this project. Bun need not be on PATH: it is the one that runs us. */
export function bunScript(script: string, ...args: readonly string[]): string[] {
  return [process.execPath, script, ...args];
}

/** The command line of a tool that a dependency brings. */
export function tool(name: string, ...args: readonly string[]): string[] {
  return [process.execPath, `node_modules/.bin/${name}`, ...args];
}

function shortened(word: string): string {
  return word === process.execPath ? "bun" : word;
}
