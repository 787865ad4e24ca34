import { readFileSync } from "node:fs";
import type { IncomingHttpHeaders } from "node:http";
import { posix } from "node:path";
import { z } from "zod";
import type { FailureKind } from "../../failure.ts";
import type { Capabilities, FactState } from "../runtime.ts";
import type { Endpoint } from "./endpoint.ts";

/**
 * What an engine does its own way behind Docker's API. All of it is here, and the rest of this folder asks; chosen once,
 * from what the engine says of itself. docs/engines.md tells users what of it they may notice.
 */
export interface Dialect {
  readonly name: "docker" | "podman";
  readonly capabilities: Capabilities;
  /** What stays the same as long as the engine keeps its data. */
  engineId(said: EngineSaid): string;
  /** An image's name as it was asked for, from what the engine has made of it. */
  imageName(said: string): string;
  /** A log that keeps about so many bytes of output, byte for byte. */
  logConfig(bytes: bigint): object;
  /** Said with every container, where the engine's own defaults may be more than it can set. */
  readonly ulimits: readonly Ulimit[];
  /** What a refusal means that its status doesn't tell: the first whose words fit. */
  readonly refusals: readonly (readonly [words: RegExp, kind: FailureKind])[];
  /** How its words begin where the output of a command should be that it could not start. */
  readonly execRefusal: RegExp;
  /** The last name of a path, from what the engine calls the thing that is there. */
  pathName(path: string, said: string): string;
  /** Whether it makes the folder that an archive is unpacked into where there is none. */
  readonly makesFolders: boolean;
  /** Whether its measurements say how many processes a container may have. */
  readonly measuresPidsLimit: boolean;
  /** The words with which it refuses to remove a network that has containers. */
  readonly networkInUse: RegExp;
  /** Whether its clock is ours. It is asked for its time otherwise. */
  readonly hasOurClock: boolean;
  /** Whether a paused container can be stopped as it is. */
  readonly stopsPaused: boolean;
  /** Whether a log that is followed ends with its container, always. */
  readonly endsFollowedLogs: boolean;
  /** Whether a log that is followed may end before all of it was sent. */
  readonly cutsFollowedLogs: boolean;
  /** Whether a container that runs can get other limits and networks. */
  readonly changesRunning: boolean;
  /** The filters of the engine's events; what they let through besides is dropped here. */
  eventFilters(labels: readonly string[], actions: readonly string[]): object;
  /** What happened, in Docker's word. */
  action(said: string): string;
  /** What stands among a container's labels in an event and is none. */
  readonly notLabels: ReadonlySet<string>;
}

/** What an engine says of itself in /info, as far as it tells engines apart. */
export const EngineSaid = z.object({
  ID: z.string().default(""),
  Name: z.string().default(""),
  DockerRootDir: z.string().default(""),
});
type EngineSaid = z.infer<typeof EngineSaid>;

interface Ulimit {
  readonly Name: string;
  readonly Soft: number;
  readonly Hard: number;
}

/** The dialect of the engine at `endpoint` whose answers to a ping have these headers. */
export function dialectOf(headers: IncomingHttpHeaders, endpoint: Endpoint): Dialect {
  const isPodman = headers["libpod-api-version"] !== undefined || /^libpod\b/i.test(String(headers.server));
  return isPodman ? podman(endpoint) : DOCKER;
}

export const DOCKER: Dialect = {
  name: "docker",
  capabilities: { logTimeMs: 1, keepsStartError: true, tellsOom: true, copiesLinks: true },
  engineId: ({ ID }) => ID,
  imageName: (said) => said,
  // The log named `local` is bounded and of bytes; the other one keeps JSON text. Half is dropped when both files are full.
  logConfig: (bytes) => {
    const half = bytes / 2n > 0n ? bytes / 2n : 1n;
    return { Type: "local", Config: { "max-size": `${half}`, "max-file": "2", compress: "false" } };
  },
  ulimits: [],
  refusals: [],
  execRefusal: /^(?:OCI runtime exec failed|unable to find (?:user|group) )/,
  pathName: (_path, said) => said,
  makesFolders: false,
  measuresPidsLimit: true,
  networkInUse: /active endpoints/i,
  hasOurClock: false,
  stopsPaused: true,
  endsFollowedLogs: true,
  cutsFollowedLogs: true,
  changesRunning: true,
  eventFilters: (label, event) => ({ type: ["container"], event, label }),
  // `health_status: healthy` carries its value behind the word.
  action: (said) => said.split(":", 1)[0] ?? said,
  notLabels: new Set(["image", "name", "exitCode", "signal", "oldName", "execID", "execDuration"]),
};

/** States in words that Docker has not; the last two are said of a container that is broken. */
export const OTHER_STATES: Readonly<Record<string, FactState>> = {
  configured: "created",
  initialized: "created",
  stopping: "running",
  stopped: "exited",
  unknown: "dead",
  "": "dead",
};

/** Measured with Podman 4.3. */
function podman(endpoint: Endpoint): Dialect {
  return {
    ...DOCKER,
    name: "podman",
    capabilities: { logTimeMs: 1000, keepsStartError: false, tellsOom: false, copiesLinks: false },
    // Its ID is another one in every answer.
    engineId: ({ Name, DockerRootDir }) => `${Name}:${DockerRootDir}`,
    // It takes short names for Docker Hub's, and writes them out.
    imageName: (said) => said.replace(/^docker\.io\/(?:library\/)?/, ""),
    // One file, which begins anew when it is full.
    logConfig: (bytes) => ({ Type: "k8s-file", Config: { "max-size": `${bytes}` } }),
    ulimits: endpoint.kind === "unix" ? ourUlimits() : [],
    // Most of its refusals are a 500, and what they come from is at their end.
    refusals: [
      [/that name is already in use$|network already exists$/, "already_exists"],
      [/network not found$/, "not_found"],
      [/container state improper$|is being used$/, "failed_precondition"],
      [/\bcopier: put: .*: file exists$/s, "failed_precondition"],
      [/: invalid argument$|invalid reference format$/, "invalid_argument"],
    ],
    execRefusal:
      /^Error: (?:(?:runc|crun|runsc|kata): |unable to find (?:user|group) |.*no matching entries in )/,
    // A link is called what it leads to, and the root `.`.
    pathName: (path) => posix.basename(path) || "/",
    makesFolders: true,
    measuresPidsLimit: false,
    // 4.3 has no call of Docker's for limits; networks have not been tried.
    changesRunning: false,
    networkInUse: /network is being used/,
    // It takes a second and more to say what time it is, as it looks for all of its parts first.
    hasOurClock: endpoint.kind === "unix",
    stopsPaused: false,
    endsFollowedLogs: false,
    cutsFollowedLogs: false,
    // Several labels would let through what carries one of them, and it knows other words for what happens.
    eventFilters: (labels) => ({ type: ["container"], label: labels.slice(0, 1) }),
    action: (said) => PODMAN_ACTIONS.get(said) ?? DOCKER.action(said),
    notLabels: new Set([...DOCKER.notLabels, "containerExitCode", "podId", "health_status"]),
  };
}

const PODMAN_ACTIONS = new Map([
  ["remove", "destroy"],
  ["died", "die"],
]);

/** What Podman gives a container that asks for nothing. */
const PODMAN_ULIMIT = 1_048_576;

/**
 * Podman run by root gives containers limits that may be above its own, and then can't start them unless it may raise
 * them. Nobody says what its own are; those of this process on the same machine are the best guess, and Podman puts
 * itself under the number of pids there are.
 */
function ourUlimits(): Ulimit[] {
  const limits = read("/proc/self/limits");
  const pids = Number(read("/proc/sys/kernel/pid_max")) || PODMAN_ULIMIT;
  const hard = (name: string): number =>
    Number(new RegExp(`^Max ${name} +\\S+ +(\\d+)`, "m").exec(limits)?.[1] ?? PODMAN_ULIMIT);
  const ulimit = (Name: string, most: number): Ulimit[] =>
    most < PODMAN_ULIMIT ? [{ Name, Soft: most, Hard: most }] : [];
  return [...ulimit("nofile", hard("open files")), ...ulimit("nproc", Math.min(hard("processes"), pids))];
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // no Linux: nothing to go by
  }
}
