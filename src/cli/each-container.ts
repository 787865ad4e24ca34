import type { Client } from "../client/client.ts";
import { Failure } from "../failure.ts";
import { manyWords } from "./command.ts";
import { EXIT_CODES } from "./exit-codes.ts";
import { findContainerId } from "./find-id.ts";

/** The words of commands that do the same to several containers. */
export const containers = manyWords({
  about: "containers: their ids, the beginnings of them, or their names",
  completes: "container",
  optional: false,
});

/** Does the same to each; what fails does not keep the others from it, and the first failure is the command's. */
export async function forEach(
  { client, words }: { readonly client: Client; readonly words: readonly string[] },
  act: (containerId: string) => Promise<void>,
): Promise<number> {
  const failures: unknown[] = [];
  for (const one of words) {
    try {
      await act(await findContainerId(client, one));
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
