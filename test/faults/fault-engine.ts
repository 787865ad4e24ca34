import { engine } from "../engine.ts";
import { OwnEngine } from "./own-engine.ts";

/** The engine of a fault run. */
export interface FaultEngine {
  readonly dockerHost: string;
  readonly socketPath: string;
  readonly image: string;
  /** The same one, where it is the run's own: only that may be killed, stopped and looked into. */
  readonly own: OwnEngine | undefined;
}

/**
 * An engine of the run's own, or, for a user who may not start one, that which all tests use: then what happens to the
 * engine itself can't be tried, and everything else can.
 */
export async function faultEngine(): Promise<FaultEngine & AsyncDisposable> {
  if (OwnEngine.isPossible) {
    const own = await OwnEngine.start();
    const { dockerHost, socketPath, image } = own;
    return { dockerHost, socketPath, image, own, [Symbol.asyncDispose]: () => own[Symbol.asyncDispose]() };
  }
  const { dockerHost, socketPath, image } = await engine();
  return { dockerHost, socketPath, image, own: undefined, [Symbol.asyncDispose]: async () => {} };
}

/** Throws where the engine is not the run's own. */
export function ownOf({ own }: FaultEngine): OwnEngine {
  if (own === undefined) throw new Error("Cannot do this to an engine that others use");
  return own;
}
