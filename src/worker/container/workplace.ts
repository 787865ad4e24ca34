import type { Client } from "../../client/client.ts";
import { Failure } from "../../failure.ts";
import type { Task } from "../../gen/proto/agent/v1/agent_pb.ts";
import {
  ContainerState,
  MountType,
  type PullPolicy,
  SessionState,
} from "../../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { findContainer } from "./find-container.ts";
import { type ProgramPlan, WORKSPACE } from "./plan.ts";

/** On sessions and containers that a worker makes: the task that they are for. */
const TASK_LABEL = "task_id";

export interface WorkplaceOptions {
  readonly task: Task;
  readonly plan: ProgramPlan;
  readonly pull: PullPolicy;
  readonly signal: AbortSignal;
}

/**
 * The container that a task is done in, in the task's session, or in one of its own for a task that has none. Disposing
 * removes what was made for the task, and nothing else.
 */
export class Workplace implements AsyncDisposable {
  readonly containerId: string;
  readonly #remove: () => Promise<void>;
  #removing: Promise<void> | undefined;

  private constructor(containerId: string, remove: () => Promise<void>) {
    this.containerId = containerId;
    this.#remove = remove;
  }

  /**
   * Makes it. What an attempt before has left behind is removed first.
   *
   * Failures: what the server says when the container can't be had; NOT_FOUND, with the image's name.
   */
  static async open(client: Client, options: WorkplaceOptions): Promise<Workplace> {
    const { task, plan } = options;
    if ("container" in plan.place) {
      const { sessionId } = task;
      const containerId = await findContainer(client, { sessionId, word: plan.place.container });
      return new Workplace(containerId, async () => undefined);
    }
    await using opening = new AsyncDisposableStack();
    const sessionId =
      task.sessionId === "" ? opening.use(await ownSession(client, options)).id : task.sessionId;
    if (task.sessionId !== "") await removeLeftOvers(client, task);
    const containerId = await createContainer(client, { ...options, sessionId, image: plan.place.image });
    opening.defer(() => removeContainer(client, containerId));
    const made = opening.move();
    return new Workplace(containerId, () => made.disposeAsync());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.remove();
  }

  /** Ends what runs in it, if it was made for the task. Doing it twice is doing it once. */
  remove(): Promise<void> {
    this.#removing ??= this.#remove().catch((error) => {
      // What the server could not remove now ends with its session, or before the task's next attempt.
      if (Failure.from(error) === undefined) throw error;
    });
    return this.#removing;
  }
}

/** An image may have to be fetched. */
const CREATE_TIMEOUT_MS = 600_000;
const CLEANUP_TIMEOUT_MS = 20_000;

const BEAT_INTERVAL_MS = 120_000;
/** Of a session of a task's own: five beats. Should the worker die, it ends by itself. */
const IDLE_TIMEOUT_NS = 600_000_000_000n;

/** What keeps a container running; the task's command runs beside it. */
const IDLE_COMMAND = ["sleep", "2147483647"];

/** A session for a task that has none; closed when it is disposed. */
async function ownSession(
  client: Client,
  { task, plan, signal }: WorkplaceOptions,
): Promise<{ readonly id: string } & AsyncDisposable> {
  const labels = { [TASK_LABEL]: task.id };
  const { sessions } = await client.orchestrator.listSessions(
    { filter: { state: SessionState.ACTIVE, labels } },
    { signal },
  );
  for (const { id } of sessions) await closeSession(client, id, "an attempt before has left it behind");
  const { sessionId } = await client.orchestrator.createSession(
    {
      metadata: { name: `task ${task.id}`, labels },
      config: { maxContainers: 1, policy: { allowNetwork: plan.network }, idleTimeoutNs: IDLE_TIMEOUT_NS },
      idempotencyKey: crypto.randomUUID(), // so that it is repeated after a lost connection
    },
    { signal },
  );
  // An update that changes nothing is activity, and nothing else.
  const beat = () => void client.orchestrator.updateSession({ sessionId }).catch(() => undefined);
  const timer = setInterval(beat, BEAT_INTERVAL_MS);
  return {
    id: sessionId,
    [Symbol.asyncDispose]: async () => {
      clearInterval(timer);
      await closeSession(client, sessionId, "its task is over");
    },
  };
}

async function closeSession(client: Client, sessionId: string, reason: string): Promise<void> {
  const { containers } = await client.orchestrator.listContainers({ filter: { sessionId } });
  for (const { id } of containers) await removeContainer(client, id); // at once, where closing would wait for its end
  await client.orchestrator.closeSession({ sessionId, reason }, { timeoutMs: CLEANUP_TIMEOUT_MS });
}

/** Of an attempt before, in the task's session: it may still run. */
async function removeLeftOvers(client: Client, { id, sessionId }: Task): Promise<void> {
  const filter = { sessionId, labels: { [TASK_LABEL]: id } };
  const { containers } = await client.orchestrator.listContainers({ filter });
  for (const container of containers) {
    if (container.state !== ContainerState.REMOVING) await removeContainer(client, container.id);
  }
}

async function createContainer(
  client: Client,
  {
    task,
    plan,
    pull,
    signal,
    sessionId,
    image,
  }: WorkplaceOptions & { readonly sessionId: string; readonly image: string },
): Promise<string> {
  const memoryBytes = task.config?.constraints?.maxMemoryBytes ?? 0n;
  const { containerId } = await client.orchestrator.createContainer(
    {
      sessionId,
      pull,
      idempotencyKey: crypto.randomUUID(),
      config: {
        image,
        command: [...IDLE_COMMAND],
        labels: { [TASK_LABEL]: task.id },
        env: { TASK_ID: task.id },
        networkMode: plan.network ? "" : "none",
        resourceLimits: { memoryBytes },
        mounts:
          plan.volume === undefined
            ? []
            : [{ type: MountType.VOLUME, source: plan.volume, target: WORKSPACE }],
      },
    },
    { signal, timeoutMs: CREATE_TIMEOUT_MS },
  );
  return containerId;
}

async function removeContainer(client: Client, containerId: string): Promise<void> {
  const request = { containerId, force: true };
  await client.orchestrator.removeContainer(request, { timeoutMs: CLEANUP_TIMEOUT_MS }).catch((error) => {
    if (Failure.from(error)?.kind !== "not_found") throw error;
  });
}
