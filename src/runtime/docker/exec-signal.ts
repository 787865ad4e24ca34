import { readFile } from "node:fs/promises";
import { constants } from "node:os";
import { Failure } from "../../failure.ts";
import type { Exec, RuntimeId } from "../runtime.ts";
import type { Endpoint } from "./endpoint.ts";

export interface SignalTarget {
  /** For messages: `send TERM to exec "4f1c…"`. */
  readonly doing: string;
  readonly name: string;
  /** The process as the engine's machine numbers it. */
  readonly pid: number;
  readonly containerId: RuntimeId;
  readonly endpoint: Endpoint;
  /** Runs a command in the container as the target's user. */
  readonly run: (command: readonly string[]) => Promise<Exec>;
}

/**
 * Sends a signal to a process that an exec started. The engine has no call for it, so it is done from this machine where
 * the process can be seen and is proven to be the container's, else by `kill` inside the container.
 *
 * @throws Failure failed_precondition when there is no way, with the reason; invalid_argument for a signal that is none.
 */
export async function signalExec(target: SignalTarget, signal: AbortSignal): Promise<void> {
  const number = signalNumber(target);
  if (target.endpoint.kind !== "unix") throw noWay(target, "the engine is on another machine");
  const innerPid = await pidInContainer(target);
  try {
    process.kill(target.pid, number);
    return;
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "ESRCH") throw noWay(target, "its process does not run");
    if (code !== "EPERM") throw error;
  }
  await killInside(target, { innerPid, number }, signal);
}

function signalNumber({ doing, name }: SignalTarget): number {
  if (/^\d+$/.test(name)) {
    const number = Number(name);
    if (number >= 1 && number <= 64) return number;
  }
  const bare = name.toUpperCase().replace(/^SIG/, "");
  const entry = Object.entries(constants.signals).find(([known]) => known === `SIG${bare}`);
  if (entry === undefined)
    throw new Failure("invalid_argument", `Cannot ${doing}: there is no signal of this name`);
  return entry[1];
}

/** The process's number inside the container, after proof that it is the container's: the number may be another's by now. */
async function pidInContainer(target: SignalTarget): Promise<string> {
  const read = (file: string): Promise<string> =>
    readFile(`/proc/${target.pid}/${file}`, "utf8").catch(() => "");
  const [cgroup, status] = await Promise.all([read("cgroup"), read("status")]);
  if (!cgroup.includes(target.containerId)) {
    throw noWay(
      target,
      "its process can't be seen from here; the engine is on another machine or in another namespace",
    );
  }
  const innerPid = /^NSpid:.*?(\d+)$/m.exec(status)?.[1];
  if (innerPid === undefined)
    throw noWay(target, "this kernel does not say what its process is called inside");
  return innerPid;
}

/** `kill` as a program, then as a word of the shell: an image may have only one of them. */
async function killInside(
  target: SignalTarget,
  { innerPid, number }: { readonly innerPid: string; readonly number: number },
  signal: AbortSignal,
): Promise<void> {
  const ways = [
    ["kill", `-${number}`, innerPid],
    ["sh", "-c", `kill -${number} ${innerPid}`],
  ];
  for (const command of ways) {
    await using kill = await target.run(command);
    for await (const _ of kill.output);
    const outcome = await kill.outcome(signal);
    if (outcome.kind === "exited" && outcome.code === 0) return;
  }
  throw noWay(target, "this process may not signal it, and there is no kill in its container that could");
}

function noWay({ doing }: SignalTarget, why: string): Failure {
  return new Failure("failed_precondition", `Cannot ${doing}: ${why}`);
}
