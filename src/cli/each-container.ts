import type { Client } from "../client/client.ts";
import { manyWords } from "./command.ts";
import { doToEach } from "./do-to-each.ts";
import { findContainerId } from "./find-id.ts";

/** The words of commands that do the same to several containers. */
export const containers = manyWords({
  about: "containers: their ids, the beginnings of them, or their names",
  completes: "container",
  optional: false,
});

/** As `doToEach`, for containers that the words mean. */
export async function forEach(
  { client, words }: { readonly client: Client; readonly words: readonly string[] },
  act: (containerId: string) => Promise<void>,
): Promise<number> {
  return await doToEach(words, async (one) => await act(await findContainerId(client, one)));
}
