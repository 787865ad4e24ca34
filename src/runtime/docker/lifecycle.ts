import { z } from "zod";
import { Failure } from "../../failure.ts";
import type { ContainerSpec, LimitSpec, RuntimeId } from "../runtime.ts";
import type { Engine } from "./engine.ts";
import { goneOnlyInWords } from "./failures.ts";
import { connectNetwork } from "./networks.ts";
import { createBody, endpointBody, limitBody } from "./spec.ts";

const Created = z.object({ Id: z.string() });

export async function createContainer(
  engine: Engine,
  spec: ContainerSpec,
  signal: AbortSignal,
): Promise<RuntimeId> {
  const doing = `create container "${spec.name}"`;
  const body = createBody(spec, await engine.dialect(doing, signal));
  const created = await engine.call(
    {
      doing,
      method: "POST",
      path: "/containers/create",
      query: { name: spec.name },
      body,
      kinds: { 409: "already_exists" },
    },
    Created,
    signal,
  );
  // as: this is where the engine's ids come from
  const id = created.Id as RuntimeId;
  await connectAll(engine, { id, spec }, signal);
  return id;
}

/** A container that can't have all of its networks is not made. */
async function connectAll(
  engine: Engine,
  { id, spec }: { readonly id: RuntimeId; readonly spec: ContainerSpec },
  signal: AbortSignal,
): Promise<void> {
  try {
    await connectContainer(engine, id, { aliases: spec.aliases, networks: spec.networks ?? [] }, signal);
  } catch (error) {
    await removeContainer(engine, id, signal).catch(() => undefined); // the first error is the one to tell
    throw error;
  }
}

/** Connects a container to networks, one after the other: the first is the one that leads outside. */
export async function connectContainer(
  engine: Engine,
  id: RuntimeId,
  to: { readonly aliases: readonly string[] | undefined; readonly networks: readonly string[] },
  signal: AbortSignal,
): Promise<void> {
  const endpoint = endpointBody({ aliases: to.aliases ?? [] });
  for (const network of to.networks) await connectNetwork(engine, { network, id, endpoint }, signal);
}

export async function startContainer(engine: Engine, id: RuntimeId, signal: AbortSignal): Promise<void> {
  try {
    await engine.act(
      {
        doing: `start ${named(id)}`,
        method: "POST",
        path: `${pathOf(id)}/start`,
        // What the engine can't start is the container's matter, whichever status the engine finds for it.
        kinds: { 400: "failed_precondition", 404: "failed_precondition", 500: "failed_precondition" },
      },
      signal,
    );
  } catch (error) {
    throw portInUse(error) ?? error;
  }
}

/** The failure of a start that found a port of the host taken, with the reason for it. */
function portInUse(error: unknown): Failure | undefined {
  if (!(error instanceof Failure) || error.kind !== "failed_precondition") return undefined;
  if (!/port is already allocated|address already in use/i.test(error.message)) return undefined;
  const port = /:(\d+)(?:\/\w+)?(?:,|:? (?:failed|bind)|:\d|:? ?address|$)/.exec(error.message)?.[1] ?? "";
  return new Failure(error.kind, error.message, {
    ...error.details,
    reason: "PORT_IN_USE",
    metadata: { port },
    cause: error,
  });
}

/** The engine counts whole seconds: a part of one is rounded up. */
export async function stopContainer(
  engine: Engine,
  id: RuntimeId,
  options: { readonly graceMs: number },
  signal: AbortSignal,
): Promise<void> {
  const doing = `stop ${named(id)}`;
  const { stopsPaused } = await engine.dialect(doing, signal);
  if (!stopsPaused && (await isPaused(engine, id, doing, signal))) await resumeContainer(engine, id, signal);
  const stop = () =>
    engine.act(
      {
        doing,
        method: "POST",
        path: `${pathOf(id)}/stop`,
        query: { t: Math.ceil(options.graceMs / 1000) },
        boundMs: options.graceMs + SLOW_ACT_MS,
      },
      signal,
    );
  await thawedIfNeeded(engine, id, { act: stop, signal });
}

async function isPaused(engine: Engine, id: RuntimeId, doing: string, signal: AbortSignal): Promise<boolean> {
  const request = { doing, method: "GET", path: `${pathOf(id)}/json` } as const;
  return (await engine.call(request, State, signal)).State.Paused;
}

const State = z.object({ State: z.object({ Paused: z.boolean() }) });

export async function killContainer(
  engine: Engine,
  id: RuntimeId,
  options: { readonly signalName: string },
  signal: AbortSignal,
): Promise<void> {
  await engine.act(
    {
      doing: `send ${options.signalName} to ${named(id)}`,
      method: "POST",
      path: `${pathOf(id)}/kill`,
      query: { signal: options.signalName },
    },
    signal,
  );
}

export async function pauseContainer(engine: Engine, id: RuntimeId, signal: AbortSignal): Promise<void> {
  const doing = `pause ${named(id)}`;
  const request = { doing, method: "POST", path: `${pathOf(id)}/pause`, kinds: STATE } as const;
  await engine.execStarts.freeze(id, () => engine.act(request, signal), signal);
}

export async function resumeContainer(engine: Engine, id: RuntimeId, signal: AbortSignal): Promise<void> {
  await engine.act(
    { doing: `resume ${named(id)}`, method: "POST", path: `${pathOf(id)}/unpause`, kinds: STATE },
    signal,
  );
}

/** Gives a container other limits, running or not; one of 0n stays what it is. */
export async function limitContainer(
  engine: Engine,
  id: RuntimeId,
  limits: LimitSpec,
  signal: AbortSignal,
): Promise<void> {
  await engine.act(
    {
      doing: `change the limits of ${named(id)}`,
      method: "POST",
      path: `${pathOf(id)}/update`,
      body: limitBody(id, limits),
      kinds: STATE,
    },
    signal,
  );
}

/** Resolves when the container is gone, also when another removal of it was under way already. */
export async function removeContainer(engine: Engine, id: RuntimeId, signal: AbortSignal): Promise<void> {
  const doing = `remove ${named(id)}`;
  const query = { force: true, v: true };
  const request = { doing, method: "DELETE", path: pathOf(id), query, kinds: goneOnlyInWords } as const;
  const act = () => engine.act(request, signal);
  for (;;) {
    try {
      return await thawedIfNeeded(engine, id, { act, signal });
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      if (error.kind === "not_found") return;
      if (!/removal of container .* is already in progress/i.test(error.message)) throw error;
      if (await isRemovedSoon(engine, id, { doing, signal })) return;
    }
  }
}

/** How long another removal is waited for before it is tried again, in milliseconds: it may fail, and nobody tells. */
const OTHER_REMOVAL_MS = 5_000;

async function isRemovedSoon(
  engine: Engine,
  id: RuntimeId,
  { doing, signal }: { readonly doing: string; readonly signal: AbortSignal },
): Promise<boolean> {
  const soon = AbortSignal.timeout(OTHER_REMOVAL_MS);
  try {
    await engine.act(
      {
        doing,
        method: "POST",
        path: `${pathOf(id)}/wait`,
        query: { condition: "removed" },
        kinds: goneOnlyInWords,
      },
      AbortSignal.any([signal, soon]),
    );
    return true;
  } catch (error) {
    if (error instanceof Failure && error.kind === "not_found") return true;
    if (soon.aborted && !signal.aborted) return false;
    throw error;
  }
}

/** Some engines end a frozen container as it is, others want it thawed first, and say so. */
async function thawedIfNeeded(
  engine: Engine,
  id: RuntimeId,
  { act, signal }: { readonly act: () => Promise<void>; readonly signal: AbortSignal },
): Promise<void> {
  try {
    await act();
  } catch (error) {
    if (!(error instanceof Failure) || !/\bpaused\b/i.test(error.message)) throw error;
    await resumeContainer(engine, id, signal);
    await act();
  }
}

/** What the engine may take to kill a container that doesn't want to go, in milliseconds. */
const SLOW_ACT_MS = 60_000;

/** Changing what is not in a state for it is refused with a 500. */
const STATE = { 500: "failed_precondition" } as const;

export function pathOf(id: RuntimeId): string {
  return `/containers/${encodeURIComponent(id)}`;
}

/** How a message names a container: as people know the engine's ids, by their first 12 characters. */
export function named(id: RuntimeId): string {
  return `container "${id.slice(0, 12)}"`;
}
