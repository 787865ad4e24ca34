import { constants } from "node:os";
import { Failure } from "../failure.ts";

/** Linux's last real-time signal. */
const maxSignal = 64;

/**
 * The number of a signal: `TERM`, `SIGTERM` or `15`.
 *
 * @throws Failure invalid_argument when there is none of this name.
 */
export function signalNumber(name: string, doing: string): number {
  if (/^\d+$/.test(name) && Number(name) >= 1 && Number(name) <= maxSignal) return Number(name);
  const wanted = `SIG${name.toUpperCase().replace(/^SIG/, "")}`;
  const entry = Object.entries(constants.signals).find(([known]) => known === wanted);
  if (entry === undefined)
    throw new Failure("invalid_argument", `Cannot ${doing}: there is no signal of this name`);
  return entry[1];
}
