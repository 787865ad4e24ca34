import type { Instant } from "../events/event.ts";
import type { Networks, PortHolder, RuntimeHost, Volumes } from "./surroundings.ts";

export type {
  NetworkFacts,
  Networks,
  PortHolder,
  RuntimeHost,
  VolumeFacts,
  Volumes,
} from "./surroundings.ts";

/**
 * A container engine, as much of it as the product needs. What every implementation promises (test/contract/runtime.ts holds it):
 *
 * - Every wait ends when its signal aborts, and what it held (sockets, streams) is given back.
 * - Output has backpressure: what is not read is not fetched. Leaving an iteration early ends it at the engine too.
 * - `inspect` and `list` say what the engine says, never what was last asked of it.
 * - Nothing is hardened or defaulted here: a spec reaches the engine as it stands. Policy is decided in containers/.
 *
 * Failures: UNAVAILABLE (engine can't be reached; names the endpoint and why), NOT_FOUND (container or image),
 * FAILED_PRECONDITION (not in a state for it), INVALID_ARGUMENT (the engine refuses the spec), ALREADY_EXISTS (name taken),
 * RESOURCE_EXHAUSTED (no space), INTERNAL never.
 */
export interface Runtime extends AsyncDisposable {
  /** The engine's endpoint as a person would type it: `unix:///var/run/docker.sock`. */
  readonly endpoint: string;
  /** Where its containers run. */
  readonly host: RuntimeHost;
  readonly networks: Networks;
  readonly volumes: Volumes;

  /** Asks the engine who it is; the proof that it lives. */
  info(signal: AbortSignal): Promise<EngineInfo>;

  /** The digest of the image as the engine has it locally, or `undefined` when it hasn't. */
  imageDigest(image: string, signal: AbortSignal): Promise<string | undefined>;
  /** Fetches an image; NOT_FOUND when no registry has it. Each value is a step of progress. */
  pull(image: string, signal: AbortSignal): AsyncIterable<PullProgress>;

  /** Makes a container, and doesn't start it. Named volumes of its mounts that are not there are made with it, without labels. */
  create(spec: ContainerSpec, signal: AbortSignal): Promise<RuntimeId>;
  /** Starting a running container is no error. A command that can't be started is FAILED_PRECONDITION with the engine's words, a host port that is taken is so with the reason PORT_IN_USE and `port`. */
  start(id: RuntimeId, signal: AbortSignal): Promise<void>;
  /** SIGTERM (or the image's stop signal), then SIGKILL after `graceMs` (rounded up to what the engine counts in). A container that isn't running is no error. */
  stop(id: RuntimeId, options: { readonly graceMs: number }, signal: AbortSignal): Promise<void>;
  kill(id: RuntimeId, options: { readonly signalName: string }, signal: AbortSignal): Promise<void>;
  pause(id: RuntimeId, signal: AbortSignal): Promise<void>;
  resume(id: RuntimeId, signal: AbortSignal): Promise<void>;
  /** Removes the container and its anonymous volumes; a running one is killed first. A container that is gone is no error. */
  remove(id: RuntimeId, signal: AbortSignal): Promise<void>;
  inspect(id: RuntimeId, signal: AbortSignal): Promise<ContainerFacts | undefined>;
  /** The containers that have this port of the host now. */
  portHolders(
    port: Pick<PortSpec, "hostPort" | "protocol">,
    signal: AbortSignal,
  ): Promise<readonly PortHolder[]>;
  /** All containers, in any state, that carry all of these labels. */
  list(labels: Readonly<Record<string, string>>, signal: AbortSignal): Promise<readonly ContainerFacts[]>;
  /**
   * One reading of what a container uses, as soon as the engine has one: it may measure no oftener than once a second.
   * FAILED_PRECONDITION when it does not run; a paused one does.
   */
  stats(id: RuntimeId, signal: AbortSignal): Promise<ResourceReading>;

  /**
   * Output from the moment this resolves until the container ends: all of it when it has not been started yet. Read once,
   * by leaving it early too, and soon: a container may have to wait for who does not read. Without a terminal only.
   */
  attach(id: RuntimeId, signal: AbortSignal): Promise<AsyncIterable<OutputChunk>>;
  /**
   * What is at an absolute path of a container, running or not: of a symbolic link, the link itself. A path can't leave
   * the container. `undefined` when nothing is there; NOT_FOUND is about the container.
   */
  stat(id: RuntimeId, path: string, signal: AbortSignal): Promise<PathStat | undefined>;
  /**
   * Unpacks an uncompressed tar archive into a folder of a container, running or not; nothing in it gets outside the
   * container. The archive is read as fast as the engine takes it, and not to its end when the signal aborts or the engine
   * refuses. NOT_FOUND: container or folder. INVALID_ARGUMENT when it is none; FAILED_PRECONDITION when it can't be
   * written there (read-only, not a folder).
   */
  copyIn(
    id: RuntimeId,
    into: CopyInto,
    archive: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<void>;
  /** A file, folder or link as an uncompressed tar archive whose entries begin with its name. NOT_FOUND: container or path. */
  copyOut(id: RuntimeId, path: string, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>;

  /** Output from the engine's log of the container. With `follow` it ends when the container does. */
  logs(id: RuntimeId, options: LogOptions, signal: AbortSignal): AsyncIterable<OutputChunk>;
  /**
   * Runs a command in a running container. Resolves when the engine has taken it on. A command that can't be started has
   * the engine's words on stderr (with a tty, on stdout) and ends with 127 when it is not there, with 126 when it can't be
   * run. The signal ends the stream, not the process.
   */
  exec(id: RuntimeId, spec: ExecSpec, signal: AbortSignal): Promise<Exec>;

  /**
   * Makes and starts a container that waits to be told what to run: `command`, `args`, `env` and `workingDir` of the spec
   * don't matter. It has no network until then, whatever the spec says; but only one whose `networkMode` is not `none` can
   * get one. Absent where containers can't be prepared, and `undefined` for one that the engine can't prepare; fails as
   * `create` and `start` do, and leaves nothing then.
   */
  readonly prepare?: (spec: ContainerSpec, signal: AbortSignal) => Promise<Prepared | undefined>;

  /**
   * What happens to containers with these labels, from now on: the first value, `{ kind: "watching" }`, comes when the
   * watch is in force. Throws UNAVAILABLE when the engine's stream is lost; ends only by the signal.
   */
  watch(labels: Readonly<Record<string, string>>, signal: AbortSignal): AsyncIterable<RuntimeEvent>;
}

/** The engine's own id of a container. Its name works wherever its id does, since a creation may end before its id is known. */
export type RuntimeId = string & { readonly __brand: "RuntimeId" };

export interface EngineInfo {
  /** Such as `docker`. */
  readonly name: string;
  readonly version: string;
  readonly apiVersion: string;
  /** Changes when the engine is another one or was set up anew. */
  readonly engineId: string;
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly capabilities: Capabilities;
}

/** Where engines keep a promise differently. What one can't do it does not pretend. */
export interface Capabilities {
  /** How finely the times of log lines are told, in milliseconds; a coarser time is rounded down. */
  readonly logTimeMs: number;
  /** Whether `error` of a container's facts says later why a start failed; the start itself always says so. */
  readonly keepsStartError: boolean;
  /** Whether it is sure to tell when memory was not enough, by the action `oom` and by `oomKilled`. */
  readonly tellsOom: boolean;
  /** Whether copyOut() of a link gives the link; else what it leads to, and one that leads nowhere is not there. */
  readonly copiesLinks: boolean;
}

export interface ContainerSpec {
  readonly name: string;
  readonly image: string;
  /** Replaces the image's entrypoint when not empty. */
  readonly command: readonly string[];
  /** Follows the entrypoint; replaces the image's own arguments when it or `command` is not empty. */
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** The image's own when empty. */
  readonly workingDir: string;
  readonly user?: string;
  readonly tty?: boolean;
  readonly labels: Readonly<Record<string, string>>;
  readonly mounts: readonly MountSpec[];
  readonly ports: readonly PortSpec[];
  /** `none`, `bridge`, or a network's name. */
  readonly networkMode: string;
  /** Further networks, by name. One that is not there fails the creation or the start. */
  readonly networks?: readonly string[];
  /** How containers of its networks find it, besides by its name. The engine's own `bridge` takes none. */
  readonly aliases?: readonly string[];
  /** Of the engine's making when absent. */
  readonly hostname?: string;
  readonly limits: LimitSpec;
  readonly restart: {
    readonly name: "no" | "on-failure" | "always" | "unless-stopped";
    readonly maximumRetryCount: number;
  };
  readonly readOnlyRootfs: boolean;
  readonly dropCapabilities: readonly string[];
  readonly noNewPrivileges: boolean;
  /** Whether a small init of the engine's reaps zombies and passes on signals. */
  readonly init: boolean;
  /**
   * About how much of the output the engine keeps, in bytes, the newest; it then keeps it byte for byte. When absent the
   * engine's own default holds, which may be no limit, and may replace bytes that are not UTF-8.
   */
  readonly logBytes?: bigint;
}

/** What a container that waits is told at last; as ContainerSpec has it. */
export type Becoming = Pick<
  ContainerSpec,
  "command" | "args" | "env" | "workingDir" | "limits" | "networkMode" | "networks" | "aliases"
>;

/** A container that waits to be told what to run, and is then what it would be had it been created with that. */
export interface Prepared {
  readonly facts: ContainerFacts;
  /** As Runtime.attach. */
  readonly output: AsyncIterable<OutputChunk>;
  /** Lets go of the output. */
  readonly endOutput: () => void;
  /** Resolves when it can't be used any more, because it or its engine has ended. */
  readonly gone: Promise<void>;
  /** Whether it can be used, as far as is known. */
  readonly isUsable: boolean;
  /** Whether it can become this, as far as limits and networks are concerned: the engine can change some, and only to some. */
  suits(becoming: Becoming): boolean;
  /**
   * Gives it its limits and networks and runs the process in it, once; gives what the engine says of it then, at the least.
   *
   * With `onEnding`, the end of a process that ends soon after it has begun may be held up: the container then ends when
   * that calls what it is given, when it is stopped or killed, or after a second. The process is traced for that.
   *
   * Failures: FAILED_PRECONDITION when it can't be started so and has not begun, UNAVAILABLE when it may have. After either
   * the container is of no use.
   */
  become(
    becoming: Becoming,
    options: { readonly onEnding: ((letGo: () => void) => void) | undefined },
    signal: AbortSignal,
  ): Promise<ContainerFacts>;
}

/** A volume without a source is the container's own, and goes with it. */
export type MountSpec =
  | { readonly kind: "bind"; readonly source: string; readonly target: string; readonly readOnly: boolean }
  | { readonly kind: "volume"; readonly source: string; readonly target: string; readonly readOnly: boolean }
  | { readonly kind: "tmpfs"; readonly target: string; readonly readOnly: boolean };

export interface PortSpec {
  readonly containerPort: number;
  /** 0: the engine chooses. */
  readonly hostPort: number;
  readonly protocol: "tcp" | "udp" | "sctp";
  readonly hostIp: string;
}

/** 0n means that the engine's own default holds. */
export interface LimitSpec {
  /** Billionths of a CPU. */
  readonly nanoCpu: bigint;
  readonly memoryBytes: bigint;
  /** Memory and swap together, as the engine counts it; -1n is without end. */
  readonly memorySwapBytes: bigint;
  readonly pids: bigint;
}

export type FactState = "created" | "running" | "paused" | "restarting" | "removing" | "exited" | "dead";

/** What the engine says of a container. */
export interface ContainerFacts {
  readonly id: RuntimeId;
  readonly name: string;
  readonly image: string;
  readonly imageDigest: string;
  readonly state: FactState;
  readonly health: "none" | "starting" | "healthy" | "unhealthy";
  /** Of its main process while it runs, in the engine's host. */
  readonly pid?: number;
  readonly createdAt: Instant;
  readonly startedAt?: Instant;
  /** This and its exit code: of one that has ended, also where its restart policy is about to start it again. */
  readonly exitedAt?: Instant;
  readonly exitCode?: number;
  /**
   * Whether a process of it ran out of memory since it was last started, be it the main one or another. An engine may
   * say so only when the container has ended; what its watch has told by `oom` is true at once.
   */
  readonly oomKilled: boolean;
  /** The engine's words for why it could not be started, when there are any. */
  readonly error?: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly ports: readonly PortSpec[];
}

/** What a container uses at a moment. Counters begin with its last start; sizes are in bytes. */
export interface ResourceReading {
  /** By the engine's clock, in milliseconds since the epoch. */
  readonly at: number;
  /** Processor time used so far, over all cores. Nanoseconds. */
  readonly cpuNs: number;
  /** Without what the kernel only keeps for speed. */
  readonly memoryBytes: number;
  /** 0 where there is none; an engine may name the machine's memory instead. */
  readonly memoryLimitBytes: number;
  readonly networkRxBytes: number;
  readonly networkTxBytes: number;
  readonly blockReadBytes: number;
  readonly blockWriteBytes: number;
  /** Processes and threads. */
  readonly pids: number;
  /** 0 where there is none. */
  readonly pidsLimit: number;
}

export interface CopyInto {
  /** A folder that is there, absolute. */
  readonly path: string;
  /** Whether a file may take the place of a folder, and the other way round. */
  readonly overwrite: "anything" | "same_kind";
}

/** What is at a path of a container. */
export interface PathStat {
  /** Its last name. */
  readonly name: string;
  readonly kind: "file" | "folder" | "link" | "other";
  /** In bytes. */
  readonly size: number;
  /** Permissions with setuid, setgid and sticky, as chmod has them. */
  readonly mode: number;
  readonly modifiedAt: Instant;
  /** Of a link: where it leads, as an absolute path of the container; else empty. */
  readonly linkTarget: string;
}

export interface LogOptions {
  readonly follow: boolean;
  /** How many of the last lines; all when absent. */
  readonly tail?: number;
  readonly since?: Instant;
  readonly until?: Instant;
  readonly timestamps: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  /** Whether the container has a terminal, as its spec says; when absent, the engine may have to be asked. */
  readonly tty?: boolean;
}

export interface OutputChunk {
  readonly stream: "stdout" | "stderr";
  readonly data: Uint8Array;
  /** When timestamps were asked for, and then each chunk is of one line. */
  readonly at?: Instant;
}

export interface ExecSpec {
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** The container's own when empty. */
  readonly workingDir: string;
  /** The container's own when empty. */
  readonly user: string;
  readonly tty: boolean;
  readonly stdin: boolean;
  readonly size?: { readonly columns: number; readonly rows: number };
  /** The command does not begin before this has resolved, and not at all when it rejects: with that `exec` fails. */
  readonly after?: Promise<unknown>;
}

/** The reason in a Failure of `exec` when the command may have begun all the same. */
export const COMMAND_MAY_RUN = "COMMAND_MAY_RUN";

/** A command that runs in a container. Disposing gives back its streams and leaves the process alone. */
export interface Exec extends AsyncDisposable {
  readonly id: string;
  /** Read once. With a tty all of it is stdout. Ends when the process has ended and all of its output was read. */
  readonly output: AsyncIterable<OutputChunk>;
  /** Resolves when the engine's side has taken it: backpressure. Writing after the process's end is no error. */
  write(data: Uint8Array, signal: AbortSignal): Promise<void>;
  /** The process reads end-of-file after what was written. */
  closeStdin(): Promise<void>;
  resize(size: { readonly columns: number; readonly rows: number }, signal: AbortSignal): Promise<void>;
  /** Sends a signal (`TERM`, `SIGINT`, `9`) to the process. FAILED_PRECONDITION when this engine gives no way to it. */
  signal(name: string, signal: AbortSignal): Promise<void>;
  /** How it ended; asked after `output` has ended. `running` when the stream was cut under it. */
  outcome(signal: AbortSignal): Promise<ExecOutcome>;
}

export type ExecOutcome =
  | { readonly kind: "exited"; readonly code: number }
  | { readonly kind: "running" }
  | { readonly kind: "unknown"; readonly reason: string };

export interface PullProgress {
  readonly status: string;
  readonly layer: string;
  readonly currentBytes: number;
  readonly totalBytes: number;
  readonly digest?: string;
}

export type RuntimeEvent =
  | { readonly kind: "watching" }
  | {
      readonly kind: "changed";
      readonly id: RuntimeId;
      /** The engine's word: `start`, `die`, `oom`, `destroy`, `rename`, … */
      readonly action: string;
      readonly labels: Readonly<Record<string, string>>;
      readonly at: Instant;
    };
