import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { runCommand } from "../../scripts/run-command.ts";

const root = join(import.meta.dir, "../..");

/** Programs that are not ours, as `bun run check` has set them up. */
export const programs = {
  get go(): string {
    return found("TEST_GO", Bun.which("go"));
  },
  get python(): string {
    return found("TEST_PYTHON", join(root, ".cache/python/bin/python"));
  },
  get grpcurl(): string {
    return found("TEST_GRPCURL", join(root, ".cache/go/grpcurl"));
  },
};

export interface Run {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs a program that has to succeed, and gives what it wrote to stdout. */
export async function succeed(command: readonly string[], { cwd, env = {} }: Run): Promise<string> {
  const done = await runCommand(command, { cwd, env: { ...env } });
  if (done.exitCode === 0) return done.stdout;
  throw new Error(`${command.join(" ")} ended with ${done.exitCode}\n${done.output}`);
}

/** What a program writes, line by line. */
export async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const bytes of stream) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
  if (rest !== "") yield rest;
}

/** An environment in which a program is found by its name, besides all others. */
export function onPath(program: string): Record<string, string> {
  return { PATH: `${dirname(program)}:${process.env.PATH ?? ""}` };
}

function found(variable: string, otherwise: string | null): string {
  const path = process.env[variable] ?? otherwise;
  if (path !== null && existsSync(path)) return path;
  throw new Error(`Cannot find the program of ${variable}: run "bun run check" once, which sets it up`);
}
