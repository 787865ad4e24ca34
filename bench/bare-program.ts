import { join } from "node:path";
import type { Subprocess } from "bun";
import { buildExecutable } from "../build.ts";

/** A program that stands beside the server. Disposing ends it. */
export interface BareProgram extends AsyncDisposable {
  readonly pid: number;
}

/** Compiles `bench/<name>.ts` as the server is compiled, and gives the executable's path. */
export async function compileBare(name: string, folder: string): Promise<string> {
  const outfile = join(folder, name);
  await buildExecutable({ entrypoint: join(import.meta.dir, `${name}.ts`), outfile });
  return outfile;
}

/** Starts a program and waits for the word `ready` on its stdout. */
export async function startBare(command: readonly string[]): Promise<BareProgram> {
  const child = Bun.spawn([...command], { stdin: "ignore", stdout: "pipe", stderr: "inherit" });
  const { value } = await child.stdout.getReader().read();
  if (value === undefined) throw new Error(`Cannot start ${command[0]}: it ended with ${await child.exited}`);
  return { pid: child.pid, [Symbol.asyncDispose]: () => end(child) };
}

async function end(child: Subprocess): Promise<void> {
  child.kill("SIGKILL");
  await child.exited;
}
