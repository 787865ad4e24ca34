import type { Client } from "../../client/client.ts";
import { Failure } from "../../failure.ts";

/**
 * The id of the container of a session that `word` means: its id, the name that it has in the session, or the engine's.
 *
 * Failures: NOT_FOUND; FAILED_PRECONDITION for a task without a session, which has no containers to work on.
 */
export async function findContainer(
  client: Client,
  { sessionId, word }: { readonly sessionId: string; readonly word: string },
): Promise<string> {
  if (sessionId === "") {
    throw new Failure(
      "failed_precondition",
      `Cannot work on container "${word}": the task has no session, so it has no containers`,
      { reason: "TASK_WITHOUT_SESSION" },
    );
  }
  const filter = { sessionId };
  for (let pageToken = ""; ; ) {
    const page = await client.orchestrator.listContainers({ filter, pageToken });
    const found = page.containers.find(
      ({ id, name, config }) => id === word || config?.name === word || name === word,
    );
    if (found !== undefined) return found.id;
    pageToken = page.nextPageToken;
    if (pageToken === "") break;
  }
  throw new Failure(
    "not_found",
    `Cannot find container "${word}": the task's session has none of this id or name`,
    {
      reason: "CONTAINER_NOT_FOUND",
    },
  );
}
