import { z } from "zod";
import { Failure } from "../../failure.ts";
import type { ContainerFacts, FactState, PortHolder, PortSpec, RuntimeId } from "../runtime.ts";
import { type Dialect, OTHER_STATES } from "./dialect.ts";
import type { Engine } from "./engine.ts";
import { goneOnlyInWords, plainWords } from "./failures.ts";
import { labelFilter } from "./label-filter.ts";
import { named, pathOf } from "./lifecycle.ts";

/** How many containers are asked about at the same time for one listing. */
const INSPECTS_AT_ONCE = 16;

export async function inspectContainer(
  engine: Engine,
  id: RuntimeId,
  signal: AbortSignal,
): Promise<ContainerFacts | undefined> {
  try {
    const request = { doing: `inspect ${named(id)}`, method: "GET", path: `${pathOf(id)}/json` } as const;
    const dialect = await engine.dialect(request.doing, signal);
    return factsOf(await engine.call({ ...request, kinds: goneOnlyInWords }, Inspected, signal), dialect);
  } catch (error) {
    if (error instanceof Failure && error.kind === "not_found") return undefined;
    throw error;
  }
}

/** The engine's own listing lacks exit codes and times: each container is asked about. One that goes meanwhile is left out. */
export async function listContainers(
  engine: Engine,
  labels: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<readonly ContainerFacts[]> {
  const listed = await engine.call(
    {
      doing: "list containers",
      method: "GET",
      path: "/containers/json",
      query: { all: true, filters: JSON.stringify({ label: labelFilter(labels) }) },
    },
    z.array(z.object({ Id: z.string() })),
    signal,
  );
  const facts: (ContainerFacts | undefined)[] = [];
  // as: these are the engine's ids
  const waiting = listed.map(({ Id }, place) => ({ id: Id as RuntimeId, place }));
  const lanes = Array.from({ length: Math.min(INSPECTS_AT_ONCE, waiting.length) }, async () => {
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      facts[next.place] = await inspectContainer(engine, next.id, signal);
    }
  });
  await Promise.all(lanes);
  return facts.filter((fact) => fact !== undefined);
}

/** Those that run: an ended container has no port. */
export async function portHolders(
  engine: Engine,
  port: Pick<PortSpec, "hostPort" | "protocol">,
  signal: AbortSignal,
): Promise<readonly PortHolder[]> {
  const request = { doing: "list containers", method: "GET", path: "/containers/json" } as const;
  const running = await engine.call(request, z.array(Listed), signal);
  return running
    .filter(({ Ports }) =>
      Ports.some(({ PublicPort, Type }) => PublicPort === port.hostPort && Type === port.protocol),
    )
    .map(({ Id, Names, Labels }) => ({
      name: Names?.[0]?.replace(/^\//, "") ?? Id.slice(0, 12),
      labels: Labels ?? {},
    }));
}

const Listed = z.object({
  Id: z.string(),
  Names: z.array(z.string()).nullish(),
  Labels: z.record(z.string(), z.string()).nullish(),
  Ports: z
    .array(z.object({ PublicPort: z.number().optional(), Type: z.string() }))
    .nullish()
    .transform((ports) => ports ?? []),
});

const STATES = ["created", "running", "paused", "restarting", "removing", "exited", "dead"] as const;

const Binding = z.object({ HostIp: z.string().default(""), HostPort: z.string().default("") });
const Bindings = z.record(z.string(), z.array(Binding).nullable()).nullish();

const Inspected = z.object({
  Id: z.string(),
  Name: z.string(),
  Created: z.string(),
  Image: z.string(),
  State: z.object({
    Status: z
      .string()
      .transform((said) => OTHER_STATES[said] ?? said)
      .pipe(z.enum(STATES)),
    OOMKilled: z.boolean().default(false),
    ExitCode: z.number().default(0),
    Pid: z.number().default(0),
    Error: z.string().default(""),
    StartedAt: z.string().default(""),
    FinishedAt: z.string().default(""),
    Health: z.object({ Status: z.string() }).nullish(),
  }),
  Config: z.object({ Image: z.string(), Labels: z.record(z.string(), z.string()).nullish() }),
  HostConfig: z.object({ PortBindings: Bindings }),
  NetworkSettings: z.object({ Ports: Bindings }).nullish(),
});

function factsOf(found: z.infer<typeof Inspected>, dialect: Dialect): ContainerFacts {
  const { State: state } = found;
  const startedAt = instant(state.StartedAt);
  const exitedAt = instant(state.FinishedAt);
  const ended = ["exited", "dead", "restarting"].includes(state.Status);
  const live: readonly FactState[] = ["running", "paused", "restarting"];
  const ports = live.includes(state.Status) ? found.NetworkSettings?.Ports : found.HostConfig.PortBindings;
  return {
    // as: this is the engine's id
    id: found.Id as RuntimeId,
    name: found.Name.replace(/^\//, ""),
    image: dialect.imageName(found.Config.Image),
    imageDigest: found.Image,
    state: state.Status,
    health: health(state.Health?.Status),
    ...(state.Pid > 0 ? { pid: state.Pid } : {}),
    createdAt: instant(found.Created) ?? 0,
    ...(startedAt === undefined ? {} : { startedAt }),
    ...(ended && exitedAt !== undefined ? { exitedAt } : {}),
    ...(ended ? { exitCode: state.ExitCode } : {}),
    oomKilled: state.OOMKilled,
    ...(state.Error === "" ? {} : { error: plainWords(state.Error) }),
    labels: found.Config.Labels ?? {},
    ports: portsOf(ports ?? {}),
  };
}

function health(status: string | undefined): ContainerFacts["health"] {
  return status === "starting" || status === "healthy" || status === "unhealthy" ? status : "none";
}

/** The engine writes the year 1 for a time that is not. */
function instant(text: string): number | undefined {
  const ms = Math.floor(Date.parse(text));
  return ms > 0 ? ms : undefined;
}

function portsOf(ports: NonNullable<z.infer<typeof Bindings>>): readonly PortSpec[] {
  return Object.entries(ports).flatMap(([key, bindings]) => {
    const [number = "", protocol = "tcp"] = key.split("/");
    if (protocol !== "tcp" && protocol !== "udp" && protocol !== "sctp") return [];
    return (bindings ?? []).map(({ HostIp, HostPort }) => ({
      containerPort: Number(number),
      hostPort: Number(HostPort),
      protocol,
      hostIp: HostIp,
    }));
  });
}
