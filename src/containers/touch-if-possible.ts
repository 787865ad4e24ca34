import { Failure } from "../failure.ts";

/** Waits until activity is noted. That it can't be, as on a full disk, is no reason not to go on. */
export async function touchIfPossible(touching: Promise<void>): Promise<void> {
  try {
    await touching;
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
  }
}
