import type { Call } from "../../call.ts";
import { Failure } from "../../failure.ts";
import type { ContainerFacts } from "../../runtime/runtime.ts";
import { sessionTable } from "../../sessions/session.ts";
import { changed } from "../../store/store.ts";
import { type Container, containerEvent } from "../container.ts";
import type { ContainerParts } from "../parts.ts";
import { mountsDiffer } from "./got-mounts.ts";
import type { FileIdentity } from "./host-paths.ts";

/**
 * Checks that a container that was started has got the files of the host that it was to get. When it has not, that is in
 * the log, and the container has to be removed at once.
 *
 * Failures: PERMISSION_DENIED when it has got others.
 */
export async function checkStart(
  parts: ContainerParts,
  started: {
    readonly container: Container;
    readonly facts: ContainerFacts;
    /** What was at the sources when policy was asked, if that was just now. */
    readonly files?: ReadonlyMap<string, FileIdentity>;
    readonly source: string;
  },
  call: Call,
): Promise<void> {
  const { container, facts, files, source } = started;
  const binds = container.config.mounts.filter(({ type }) => type === "bind");
  if (binds.length === 0) return;
  const reason = await mountsDiffer(binds, { pid: facts.pid, ...(files === undefined ? {} : { files }) });
  if (reason === undefined) return;
  const { actor, correlationId } = call;
  await parts.store.change({ session: { table: sessionTable, key: container.sessionId } }, ({ session }) =>
    changed(
      undefined,
      [],
      [
        containerEvent(
          { ...container, session },
          {
            type: "policy_violation",
            source,
            at: parts.clock(),
            actor,
            correlationId,
            priority: "high",
            data: { field: "config.mounts", reason, image: container.config.image },
          },
        ),
      ],
    ),
  );
  throw new Failure(
    "permission_denied",
    `Cannot keep container "${container.id}" running: it has not got what policy allows (${reason})`,
    { reason: "POLICY_VIOLATION", violations: [{ field: "config.mounts", description: reason }] },
  );
}
