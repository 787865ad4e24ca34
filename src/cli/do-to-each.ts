import { Failure } from "../failure.ts";
import { EXIT_CODES } from "./exit-codes.ts";

/** Does the same to each; what fails does not keep the others from it, and the first failure is the command's. */
export async function doToEach(
  words: readonly string[],
  act: (word: string) => Promise<void>,
): Promise<number> {
  const failures: unknown[] = [];
  for (const one of words) {
    try {
      await act(one);
    } catch (error) {
      if (Failure.from(error) === undefined || words.length === 1) throw error;
      failures.push(error);
    }
  }
  if (failures.length === 0) return EXIT_CODES.ok;
  const [first] = failures;
  const kind = Failure.from(first)?.kind ?? "unknown";
  const messages = failures.map((failure) => Failure.from(failure)?.message ?? String(failure));
  throw failures.length === 1 ? first : new Failure(kind, messages.join("\n"));
}
