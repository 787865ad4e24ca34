import { Bell } from "../../events/bell.ts";
import { Failure } from "../../failure.ts";
import type { Exec as Process, Runtime, RuntimeId } from "../../runtime/runtime.ts";
import { type Container, isMade, startOf } from "../container.ts";
import type { EndingWatch } from "../endings.ts";
import type { ExecEnd } from "./exec.ts";
import { type Killing, killExec } from "./exec-kill.ts";

/** What is known of a command whose output has come to its end. */
export interface Ended {
  readonly process: Process;
  readonly runtime: Runtime;
  readonly container: Pick<Container, "life" | "claimedAt"> & { readonly runtimeId: RuntimeId };
  readonly ending: EndingWatch;
  /** The signals that clients have sent, in order. */
  readonly signals: readonly { readonly name: string; readonly number: number }[];
  /** What came of killing it; undefined when that was not asked for. */
  readonly killing: Killing | undefined;
  /** Why it was to be killed: `timed_out`, or in words. */
  readonly cut:
    | { readonly kind: "timed_out"; readonly timeoutNs: bigint }
    | { readonly kind: "cancelled"; readonly reason: string };
  /** Why its output did not come to its end; empty if it did. */
  readonly lost: string;
  readonly signal: AbortSignal;
}

/** SIGKILL, by which the kernel ends all that runs in a container whose main process has ended. */
const killed = { code: 137, number: 9 };

/** How it ended, of which `cut` is the reason only if it did not end by itself before. */
export async function howItEnded(ended: Ended): Promise<ExecEnd> {
  const { process, killing, cut, lost, signal } = ended;
  if (killing?.kind === "impossible")
    return { kind: "unknown", reason: `${cutWords(cut)}, and it can't be killed: ${killing.reason}` };
  if (killing?.kind === "killed" || (killing?.kind === "ended" && lost !== "")) {
    return lost === "" ? cut : await killedOrFrozen(ended);
  }
  try {
    const outcome = await process.outcome(signal);
    if (outcome.kind === "running") {
      // Nobody can read what it says any more.
      await killExec(process, signal);
      return { kind: "unknown", reason: lost || "its output ended while it was running" };
    }
    if (outcome.kind === "unknown") return await unknownOrNot(ended, outcome.reason);
    return await exitedOrNot(ended, outcome.code);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return { kind: "unknown", reason: lost || error.message };
  }
}

/** In a container that is frozen, a process that was killed is there until it is thawed. */
async function killedOrFrozen({ runtime, container, cut, signal }: Ended): Promise<ExecEnd> {
  try {
    const facts = await runtime.inspect(container.runtimeId, signal);
    if (facts?.state !== "paused") return cut;
    const reason = `${cutWords(cut)}; it was killed, which takes effect when its container, which is paused, is resumed`;
    return { kind: "unknown", reason };
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return cut;
  }
}

/** What an exit code means: SIGKILL may have been its own, a client's, or that of all that its container had. */
async function exitedOrNot(ended: Ended, code: number): Promise<ExecEnd> {
  const sent = ended.signals.findLast(({ number }) => code === 128 + number);
  if (sent !== undefined) return { kind: "signalled", signal: sent.name, number: sent.number };
  if (code !== killed.code) return { kind: "exited", code };
  const cancelled = cancelledWith(ended);
  if (cancelled !== undefined) return cancelled;
  const reason = await containerEnd(ended);
  // A call that ends the container may have begun meanwhile.
  return reason === undefined
    ? { kind: "exited", code }
    : (cancelledWith(ended) ?? { kind: "unknown", reason });
}

/** What has become of its container tells more than that the engine knows nothing. */
async function unknownOrNot(ended: Ended, reason: string): Promise<ExecEnd> {
  const cancelled = cancelledWith(ended);
  if (cancelled !== undefined) return cancelled;
  try {
    const why = ended.lost === "" ? await containerEnd(ended) : undefined;
    return cancelledWith(ended) ?? { kind: "unknown", reason: why ?? reason };
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return { kind: "unknown", reason };
  }
}

function cancelledWith({ ending, lost }: Ended): ExecEnd | undefined {
  if (ending.reason === undefined || lost !== "") return undefined;
  return { kind: "cancelled", reason: `its container was ended: ${ending.reason}` };
}

/** The waits before the engine is asked once more, in milliseconds: a command is dead before the engine says it of the container. */
const waitsMs = [0, 20, 40, 80, 160, 320] as const;

/** Why the container is not the running one any more that the command was started in; undefined when it is. */
async function containerEnd({ runtime, container, signal }: Ended): Promise<string | undefined> {
  const before = isMade(container.life) ? container.life.startedAt : null;
  for (const waitMs of waitsMs) {
    if (waitMs > 0) await new Bell().wait(waitMs);
    const facts = await runtime.inspect(container.runtimeId, signal);
    if (facts === undefined) return "its container was removed under it";
    const { state, exitCode, oomKilled } = facts;
    if (state === "restarting" || startOf(container, facts) !== before)
      return "its container was started anew under it";
    if (state === "exited" || state === "dead") {
      const why = oomKilled
        ? "it wanted more memory than it may have"
        : `its main process has ended with ${exitCode}`;
      return `its container ended under it: ${why}`;
    }
    if (state === "removing") return "its container was removed under it";
  }
  return undefined;
}

function cutWords(cut: Ended["cut"]): string {
  return cut.kind === "timed_out" ? "its timeout_ns is over" : cut.reason;
}
