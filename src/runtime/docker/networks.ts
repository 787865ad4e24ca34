import { z } from "zod";
import { Failure } from "../../failure.ts";
import type { NetworkFacts, Networks, RuntimeId } from "../runtime.ts";
import type { Engine } from "./engine.ts";
import { labelFilter } from "./label-filter.ts";

export function dockerNetworks(engine: Engine): Networks {
  return {
    create: (spec, signal) => createNetwork(engine, spec, signal),
    get: async (name, signal) => factsOf(await inspectNetwork(engine, name, signal)),
    list: (labels, signal) => listNetworks(engine, labels, signal),
    remove: (name, signal) => removeNetwork(engine, name, signal),
  };
}

/** Connects a container, running or not, but one in the network `none`. */
export async function connectNetwork(
  engine: Engine,
  connect: { readonly network: string; readonly id: RuntimeId; readonly endpoint: object },
  signal: AbortSignal,
): Promise<void> {
  const { network, id, endpoint } = connect;
  await engine.act(
    {
      doing: `connect a container to network "${network}"`,
      method: "POST",
      path: `${pathOf(network)}/connect`,
      body: { Container: id, EndpointConfig: endpoint },
    },
    signal,
  );
}

/** Takes a container out of a network; out of `none`, after which it has no network and can get one. */
export async function disconnectNetwork(
  engine: Engine,
  { network, id }: { readonly network: string; readonly id: RuntimeId },
  signal: AbortSignal,
): Promise<void> {
  const doing = `disconnect a container from network "${network}"`;
  const body = { Container: id };
  await engine.act({ doing, method: "POST", path: `${pathOf(network)}/disconnect`, body }, signal);
}

async function createNetwork(engine: Engine, spec: NetworkFacts, signal: AbortSignal): Promise<void> {
  await engine.act(
    {
      doing: `create network "${spec.name}"`,
      method: "POST",
      path: "/networks/create",
      // Without CheckDuplicate older engines make any number of one name.
      body: { Name: spec.name, Driver: "bridge", CheckDuplicate: true, Labels: spec.labels },
      kinds: {
        409: "already_exists",
        400: noAddresses,
        403: noAddresses,
        404: noAddresses,
        500: noAddresses,
      },
    },
    signal,
  );
}

/** Which status an engine gives that has no addresses left depends on its version; the words don't. */
function noAddresses(words: string) {
  return /available.* address pool|address pools have been fully/i.test(words)
    ? "resource_exhausted"
    : "failed_precondition";
}

async function inspectNetwork(engine: Engine, name: string, signal: AbortSignal) {
  const request = { doing: `inspect network "${name}"`, method: "GET", path: pathOf(name) } as const;
  try {
    const found = await engine.call(request, Network, signal);
    return found.Name === name ? found : undefined;
  } catch (error) {
    if (error instanceof Failure && error.kind === "not_found") return undefined;
    throw error;
  }
}

async function listNetworks(
  engine: Engine,
  labels: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<readonly NetworkFacts[]> {
  const request = {
    doing: "list networks",
    method: "GET",
    path: "/networks",
    query: { filters: JSON.stringify({ label: labelFilter(labels) }) },
  } as const;
  const found = await engine.call(request, z.array(Network), signal);
  return found.map(({ Name, Labels }) => ({ name: Name, labels: Labels ?? {} }));
}

async function removeNetwork(engine: Engine, name: string, signal: AbortSignal): Promise<void> {
  const request = { doing: `remove network "${name}"`, method: "DELETE", path: pathOf(name) } as const;
  try {
    await engine.act(request, signal);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    if (error.kind === "not_found") return;
    const { networkInUse } = await engine.dialect(request.doing, signal);
    if (!networkInUse.test(error.message)) throw error;
    await disconnectAll(engine, name, signal);
    await engine.act(request, signal);
  }
}

async function disconnectAll(engine: Engine, name: string, signal: AbortSignal): Promise<void> {
  const found = await inspectNetwork(engine, name, signal);
  for (const container of Object.keys(found?.Containers ?? {})) {
    const body = { Container: container, Force: true };
    const doing = `disconnect a container from network "${name}"`;
    await engine.act({ doing, method: "POST", path: `${pathOf(name)}/disconnect`, body }, signal);
  }
}

function pathOf(name: string): string {
  return `/networks/${encodeURIComponent(name)}`;
}

const Network = z.object({
  Name: z.string(),
  Labels: z.record(z.string(), z.string()).nullish(),
  Containers: z.record(z.string(), z.unknown()).nullish(),
});

function factsOf(found: z.infer<typeof Network> | undefined): NetworkFacts | undefined {
  return found === undefined ? undefined : { name: found.Name, labels: found.Labels ?? {} };
}
