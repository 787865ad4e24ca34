import type { NetworkFacts, Runtime } from "../../runtime/runtime.ts";
import { type ContainerConfig, engineLabels } from "../container.ts";
import { type FileIdentity, findPath, realGuards } from "./host-paths.ts";
import type { FoundPath, GuardedPath } from "./mount-policy.ts";
import type { FoundNetwork } from "./network-policy.ts";
import type { Findings } from "./policy.ts";

/** What policy has to know of host and engine, and the files of the host, held until this is disposed. */
export interface HeldFindings extends Findings, AsyncDisposable {
  /** Which file is at the source of each bind mount, by its path without symbolic links. */
  readonly files: ReadonlyMap<string, FileIdentity>;
}

/** Looks at what a config names of the host and the engine. Fails as the runtime does. */
export async function lookUp(
  config: ContainerConfig,
  options: {
    readonly runtime: Runtime;
    readonly guarded: readonly GuardedPath[];
    readonly signal: AbortSignal;
  },
): Promise<HeldFindings> {
  const { runtime, signal } = options;
  const paths = new Map<string, FoundPath>();
  const files = new Map<string, FileIdentity>();
  await using undo = new AsyncDisposableStack();
  const sources = new Set(config.mounts.flatMap(({ type, source }) => (type === "bind" ? [source] : [])));
  const guarded = sources.size === 0 ? [] : await realGuards(guardsOf(runtime, options.guarded));
  for (const source of sources) {
    if (runtime.host.kind === "elsewhere") {
      paths.set(source, { kind: "hidden", reason: elsewhere(runtime) });
      continue;
    }
    const { found, pinned } = await findPath(source, guarded);
    paths.set(source, found);
    if (pinned !== undefined) undo.use(pinned);
    if (pinned !== undefined && found.kind === "there") files.set(found.path, pinned.identity);
  }
  const networks = new Map<string, FoundNetwork>();
  for (const name of config.networks) {
    networks.set(name, networkOf(await runtime.networks.get(name, signal)));
  }
  const held = undo.move();
  return { paths, files, networks, guarded, [Symbol.asyncDispose]: () => held.disposeAsync() };
}

/** What no container gets on any host. */
const systemGuards: readonly GuardedPath[] = [
  { path: "/proc", what: "the kernel's /proc" },
  { path: "/sys", what: "the kernel's /sys" },
  { path: "/dev", what: "the host's devices" },
  { path: "/run/docker.sock", what: "the container engine's socket" },
  { path: "/var/run/docker.sock", what: "the container engine's socket" },
  { path: "/run/containerd", what: "the sockets of containerd" },
  { path: "/run/podman", what: "the container engine's socket" },
  { path: "/var/lib/docker", what: "the container engine's own files" },
  { path: "/var/lib/containerd", what: "the container engine's own files" },
];

function guardsOf({ host }: Runtime, own: readonly GuardedPath[]): readonly GuardedPath[] {
  const socket =
    host.kind === "this" ? [{ path: host.socketPath, what: "the container engine's socket" }] : [];
  return [...systemGuards, ...socket, ...own];
}

function elsewhere({ endpoint }: Runtime): string {
  return `the container engine (${endpoint}) may be on another machine, whose paths can't be checked`;
}

function networkOf(found: NetworkFacts | undefined): FoundNetwork {
  if (found === undefined) return "missing";
  return engineLabels.session in found.labels ? "of_a_session" : "free";
}
