import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { processStart } from "./process-start.ts";

/**
 * Where the private engine of this machine lives. One a machine and not one a checkout: two engines on one network
 * flush each other's iptables chains. Short, because a Unix socket's path may have 107 bytes at most.
 */
export const ENGINE_FOLDER = process.env.BAAAHT_ENGINE_FOLDER ?? "/run/baaaht-engine";
export const ENGINE_SOCKET = join(ENGINE_FOLDER, "engine.sock");
/** Where the engine writes its pid. It refuses to start while one from before names a process that exists. */
export const ENGINE_PID_FILE = join(ENGINE_FOLDER, "dockerd.pid");

/** What is written down about an engine that we started, so that any later process can find and stop it. */
export interface EngineState {
  readonly pid: number;
  readonly processStart: string;
  readonly execRoot: string;
  readonly dataRoot: string;
  readonly log: string;
  /** The network interface that it brought; none where it was there before. */
  readonly bridge: string | undefined;
}

const STATE = join(ENGINE_FOLDER, "engine.json");
const LEASES = join(ENGINE_FOLDER, "leases");
const KEPT = join(ENGINE_FOLDER, "kept");

/** Makes the folder, open to its owner alone. */
export function prepareEngineFolder(): void {
  mkdirSync(LEASES, { recursive: true, mode: 0o700 });
}

/** The engine that was started and whose process still lives. */
export function readState(): EngineState | undefined {
  if (!existsSync(STATE)) return undefined;
  // The file is written by writeState alone, in one piece, in a folder that only root may write.
  const state = JSON.parse(readFileSync(STATE, "utf8")) as EngineState;
  return processStart(state.pid) === state.processStart ? state : undefined;
}

export function writeState(state: EngineState): void {
  writeFileSync(STATE, `${JSON.stringify(state, undefined, 2)}\n`, { mode: 0o600 });
}

export function forgetState(): void {
  for (const path of [STATE, KEPT, ENGINE_SOCKET, ENGINE_PID_FILE]) rmSync(path, { force: true });
}

/** Says that this process uses the engine; it is not stopped by others until the lease is returned or we are gone. */
export function takeLease(): void {
  writeFileSync(join(LEASES, `${process.pid}`), processStart(process.pid) ?? "");
}

export function returnLease(): void {
  rmSync(join(LEASES, `${process.pid}`), { force: true });
}

/** The processes that use the engine now. Leases of processes that are gone are removed. */
export function leaseHolders(): number[] {
  if (!existsSync(LEASES)) return [];
  return readdirSync(LEASES)
    .map(Number)
    .filter((pid) => {
      const path = join(LEASES, `${pid}`);
      const alive = processStart(pid) === readFileSync(path, "utf8");
      if (!alive) rmSync(path, { force: true });
      return alive;
    });
}

/** Somebody asked for the engine to stay up when nobody uses it. */
export function isKept(): boolean {
  return existsSync(KEPT);
}

export function setKept(kept: "keep" | "stop-when-unused"): void {
  if (kept === "keep") writeFileSync(KEPT, "");
  else rmSync(KEPT, { force: true });
}
