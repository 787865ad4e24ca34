import { Failure } from "../../src/failure.ts";

/** The Failure that `act` throws; fails the test when it throws none. */
export async function thrown(act: () => unknown): Promise<Failure> {
  try {
    await act();
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  throw new Error("Cannot look at what was thrown: nothing was");
}
