import { Failure } from "../../failure.ts";
import type { Exec } from "../../runtime/runtime.ts";

/** What came of killing a command. */
export type Killing =
  | { readonly kind: "killed" }
  /** It had ended before. */
  | { readonly kind: "ended" }
  | { readonly kind: "impossible"; readonly reason: string };

/** Kills a command, which may have ended by itself. Fails only by defects. */
export async function killExec(exec: Exec, signal: AbortSignal): Promise<Killing> {
  try {
    await exec.signal("KILL", signal);
    return { kind: "killed" };
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    // It has ended already, or this engine gives no way to it.
    return (await hasEnded(exec, signal)) ? { kind: "ended" } : { kind: "impossible", reason: error.message };
  }
}

async function hasEnded(exec: Exec, signal: AbortSignal): Promise<boolean> {
  try {
    return (await exec.outcome(signal)).kind !== "running";
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return false;
  }
}

/** Does to a command what makes no difference to one that has ended meanwhile: its end is what the caller waits for. */
export async function unlessEnded(exec: Exec, signal: AbortSignal, act: () => Promise<void>): Promise<void> {
  try {
    await act();
  } catch (error) {
    const isRefusal =
      error instanceof Failure && (error.kind === "failed_precondition" || error.kind === "not_found");
    if (!isRefusal || (await exec.outcome(signal)).kind === "running") throw error;
  }
}
