import { toJsonString } from "@bufbuild/protobuf";
import type { Client } from "../../client/client.ts";
import { Failure } from "../../failure.ts";
import {
  ContainerSchema,
  ListContainersResponseSchema,
  LogStream,
  PathStatSchema,
  type PullPolicy,
  WaitContainerResponseSchema,
} from "../../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import type { RunningTask, TaskOutcome } from "../running-task.ts";
import { findContainer } from "./find-container.ts";
import type { ContainerPlan, PathPlan } from "./plan.ts";

/** An image may have to be fetched. */
const CREATE_TIMEOUT_MS = 600_000;
/** More than the 10 s that a container has to stop. */
const STOP_TIMEOUT_MS = 30_000;

/** Does one thing with a container of the task's session, and writes the answer as a line of JSON to stdout. */
export async function doContainerOperation(
  client: Client,
  { task, signal, write }: RunningTask,
  { plan, pull }: { readonly plan: ContainerPlan; readonly pull: PullPolicy },
): Promise<TaskOutcome> {
  const { sessionId } = task;
  const { orchestrator } = client;
  if (plan.verb === "create") {
    if (sessionId === "") throw withoutSession();
    const [command, ...args] = plan.command;
    const config = { image: plan.image, command: command === undefined ? [] : [command], args };
    const request = { sessionId, pull, config, idempotencyKey: crypto.randomUUID() };
    const { container } = await orchestrator.createContainer(request, {
      signal,
      timeoutMs: CREATE_TIMEOUT_MS,
    });
    if (container !== undefined) await write(`${toJsonString(ContainerSchema, container)}\n`);
    return {};
  }
  if (plan.verb === "list") {
    if (sessionId === "") throw withoutSession();
    const listed = await orchestrator.listContainers({ filter: { sessionId } }, { signal });
    await write(`${toJsonString(ListContainersResponseSchema, listed)}\n`);
    return {};
  }
  const containerId = await findContainer(client, { sessionId, word: plan.container });
  switch (plan.verb) {
    case "inspect":
      break;
    case "stop":
      await orchestrator.stopContainer({ containerId }, { signal, timeoutMs: STOP_TIMEOUT_MS });
      break;
    case "pause":
      await orchestrator.pauseContainer({ containerId }, { signal });
      break;
    case "resume":
      await orchestrator.resumeContainer({ containerId }, { signal });
      break;
    case "remove":
      await orchestrator.removeContainer(
        { containerId, force: true },
        { signal, timeoutMs: STOP_TIMEOUT_MS },
      );
      return {};
    case "logs": {
      await using chunks = orchestrator.streamContainerLogs({ containerId }, { signal });
      for await (const { stream, data } of chunks)
        await write(data, stream === LogStream.STDERR ? "stderr" : "stdout");
      return {};
    }
    case "wait": {
      const waited = await orchestrator.waitContainer({ containerId }, { signal });
      await write(`${toJsonString(WaitContainerResponseSchema, waited)}\n`);
      return { exitCode: waited.exitCode };
    }
  }
  const { container } = await orchestrator.getContainer({ containerId }, { signal });
  if (container !== undefined) await write(`${toJsonString(ContainerSchema, container)}\n`);
  return {};
}

/** Says what is at a path of a container, as a line of JSON. */
export async function statPath(
  client: Client,
  { task, signal, write }: RunningTask,
  { container, path }: PathPlan,
): Promise<TaskOutcome> {
  const containerId = await findContainer(client, { sessionId: task.sessionId, word: container });
  const { stat } = await client.orchestrator.statContainerPath({ containerId, path }, { signal });
  if (stat !== undefined) await write(`${toJsonString(PathStatSchema, stat)}\n`);
  return {};
}

function withoutSession(): Failure {
  return new Failure(
    "failed_precondition",
    "Cannot work on containers: the task has no session, so it has none",
    {
      reason: "TASK_WITHOUT_SESSION",
    },
  );
}
