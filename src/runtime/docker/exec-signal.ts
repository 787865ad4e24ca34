import { readFile } from "node:fs/promises";
import { Failure } from "../../failure.ts";
import type { Exec, RuntimeId } from "../runtime.ts";

export interface SignalTarget {
  /** For messages: `send TERM to exec "4f1c…"`. */
  readonly doing: string;
  readonly number: number;
  /** The process as the engine's machine numbers it. */
  readonly pid: number;
  readonly containerId: RuntimeId;
  /** Runs a command in the container as the target's user. */
  readonly run: (command: readonly string[]) => Promise<Exec>;
}

/**
 * Sends a signal to a process that an exec started, and to all of its process group, so that what a shell has started
 * doesn't outlive it. The engine has no call for it, so it is done from this machine where
 * the process can be seen and is proven to be the container's, else by `kill` inside the container.
 *
 * @throws Failure failed_precondition when there is no way, with the reason.
 */
export async function signalExec(target: SignalTarget, signal: AbortSignal): Promise<void> {
  const found = await findInContainer(target);
  try {
    process.kill(found.leads ? -target.pid : target.pid, target.number);
    return;
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "ESRCH") throw noWay(target, "its process does not run");
    if (code !== "EPERM") throw error;
  }
  await killInside(target, found, signal);
}

/** A process as its container has it. */
interface Found {
  readonly innerPid: string;
  /** Whether it leads its process group, so that the group has its number. */
  readonly leads: boolean;
}

/** The process inside the container, after proof that it is the container's: the number may be another's by now. */
async function findInContainer(target: SignalTarget): Promise<Found> {
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
  const group = /^NSpgid:\s*(\d+)/m.exec(status)?.[1];
  return { innerPid, leads: group === String(target.pid) };
}

/** `kill` as a program, then as a word of the shell: an image may have only one of them. */
async function killInside(target: SignalTarget, found: Found, signal: AbortSignal): Promise<void> {
  const to = found.leads ? `-${found.innerPid}` : found.innerPid;
  const ways = [
    ["kill", `-${target.number}`, to],
    ["sh", "-c", `kill -${target.number} ${to}`],
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
