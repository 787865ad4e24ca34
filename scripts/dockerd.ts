import { spawn } from "node:child_process";
import { existsSync, openSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { canInstallPackages, installPackages } from "./debian-packages.ts";
import { whyUnusable } from "./engine-api.ts";
import { parentOf, processStart } from "./process-start.ts";
import type { Progress } from "./progress.ts";
import { runCommand } from "./run-command.ts";
import { SetUpError } from "./set-up-error.ts";

const START_TIMEOUT_MS = 90_000;
const STOP_TIMEOUT_MS = 30_000;

/** Where programs of the system are, also for a user's PATH that lacks the administrator's folders. */
export const SYSTEM_PATH = `${process.env.PATH ?? ""}:/usr/local/sbin:/usr/sbin:/sbin`;

/** What one Docker daemon is to have for itself: paths, and how its networks are set up. */
export interface DockerdSettings {
  /** Short, because a Unix socket's path may have 107 bytes at most. */
  readonly socket: string;
  /** It refuses to start while one from before names a process that exists. */
  readonly pidFile: string;
  readonly dataRoot: string;
  /** A fresh one each time: what a killed engine leaves in it can make the next start hang on its containerd. */
  readonly execRoot: string;
  readonly log: string;
  readonly configFile: string;
  /** More of its configuration: its network's. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly path: string;
  /** In which namespace of a containerd that runs already its containers are. */
  readonly namespace: string;
  /** Put before its command line. */
  readonly under?: readonly string[];
}

/** A network interface for an engine that runs beside another one, which has docker0. */
export interface OwnBridge {
  readonly name: string;
  /** With the length of its network: `10.213.87.1/24`. */
  readonly address: string;
}

/** Starts a Docker daemon and waits until it answers; gives its pid, and why it did not come up if it did not. */
export async function startDockerd(
  settings: DockerdSettings,
  onPid: (pid: number) => void = () => {},
): Promise<{ readonly pid: number; readonly failed: string | undefined }> {
  writeFileSync(settings.configFile, JSON.stringify(daemonConfig(settings), undefined, 2));
  const out = openSync(settings.log, "w");
  const [command = "dockerd", ...words] = [
    ...(settings.under ?? []),
    "dockerd",
    "--config-file",
    settings.configFile,
  ];
  const child = spawn(command, words, {
    detached: true, // its own session: Ctrl-C on our terminal is for us, not for it
    stdio: ["ignore", out, out],
    // Most of a container's start is the start of Go programs, which then don't collect what their end would free anyway.
    env: { ...process.env, PATH: settings.path, GOGC: "400" },
  });
  const ended = new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (code, signal) => resolve(`it ended with ${code ?? signal}`));
  });
  child.unref();
  const { pid } = child;
  if (pid === undefined) return { pid: 0, failed: `Cannot start dockerd: ${await ended}` };
  onPid(pid);
  const reason = await Promise.race([ended, answering(settings.socket, START_TIMEOUT_MS)]);
  if (reason === undefined) return { pid, failed: undefined };
  const tail = readFileSync(settings.log, "utf8").trim().split("\n").slice(-15).join("\n");
  return {
    pid,
    failed: `Cannot start a private Docker engine: ${reason}. The end of its log, "${settings.log}":\n${tail}`,
  };
}

/** The daemon's configuration file. */
export function daemonConfig(
  settings: Pick<DockerdSettings, "socket" | "pidFile" | "dataRoot" | "execRoot" | "namespace" | "config">,
): Record<string, unknown> {
  // Next to a containerd that runs already, dockerd uses that one: then in a namespace of our own.
  const shared = existsSync("/run/containerd/containerd.sock");
  const { namespace } = settings;
  const namespaces = {
    "containerd-namespace": namespace,
    "containerd-plugin-namespace": `${namespace}-plugins`,
  };
  return {
    hosts: [`unix://${settings.socket}`],
    "data-root": settings.dataRoot,
    "exec-root": settings.execRoot,
    pidfile: settings.pidFile,
    "userland-proxy": false,
    "shutdown-timeout": 5,
    ...(shared ? namespaces : {}),
    ...settings.config,
  };
}

/** Undefined as soon as the engine answers, else why not within the time. */
async function answering(socket: string, timeoutMs: number): Promise<string | undefined> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const reason = existsSync(socket) ? await whyUnusable(`unix://${socket}`) : "there is no socket yet";
    if (reason === undefined) return undefined;
    if (performance.now() > deadline) return `it did not answer within ${timeoutMs / 1000} s (${reason})`;
    // An engine says nothing when it is ready, apart from answering.
    await Bun.sleep(50);
  }
}

/** Asks, then makes it end. A killed dockerd leaves its containerd behind, so that goes too. */
export async function endDockerd(pid: number): Promise<void> {
  const family = [pid, ...processes().filter((other) => parentOf(other) === pid)];
  await endProcesses([pid], family, "SIGTERM", STOP_TIMEOUT_MS);
  await endProcesses(family, family, "SIGKILL", 5_000);
}

/** Sends a signal to those of `targets` that live, and waits until none of `family` does, or for so long. */
async function endProcesses(
  targets: readonly number[],
  family: readonly number[],
  signal: NodeJS.Signals,
  waitMs: number,
): Promise<void> {
  const starts = new Map(family.map((member) => [member, processStart(member)]));
  const isAlive = (member: number): boolean =>
    starts.get(member) !== undefined && processStart(member) === starts.get(member);
  for (const member of targets.filter(isAlive)) signalProcess(member, signal);
  const deadline = performance.now() + waitMs;
  // Not always our child, and then its end is no event for us.
  while (family.some(isAlive) && performance.now() < deadline) await Bun.sleep(50);
}

function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It went between the look and the signal.
  }
}

/** An engine mounts its folders on themselves, and one that was killed leaves them so: nobody could delete them. */
export async function unmountAll(folder: string): Promise<void> {
  const points = readFileSync("/proc/self/mounts", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[1] ?? "");
  for (const point of points.filter((each) => each === folder || each.startsWith(`${folder}/`)).reverse()) {
    await runCommand(["umount", "--lazy", point]);
  }
}

/** Not `bridge: none`: an engine that starts with that deletes docker0, whoever it belongs to. */
export async function addBridge({ name, address }: OwnBridge): Promise<void> {
  for (const words of [
    ["link", "add", "name", name, "type", "bridge"],
    ["address", "replace", address, "dev", name],
    ["link", "set", name, "up"],
  ]) {
    const done = await runCommand(["ip", ...words], { env: { PATH: SYSTEM_PATH } });
    if (done.exitCode !== 0 && !done.output.includes("File exists")) {
      throw new SetUpError(
        `Cannot start a private Docker engine beside the one that runs: ${done.output.trim()}`,
      );
    }
  }
}

/** An engine leaves its bridge behind. */
export async function removeBridge(name: string): Promise<void> {
  await runCommand(["ip", "link", "delete", name], { env: { PATH: SYSTEM_PATH } });
}

/** Installs what a Docker engine needs where it is missing. */
export async function installDockerd(progress: Progress): Promise<void> {
  const onPath = (name: string): boolean => Bun.which(name, { PATH: SYSTEM_PATH }) !== null;
  const missing = [
    ...(onPath("dockerd") ? [] : ["docker.io"]),
    ...(onPath("iptables") ? [] : ["iptables"]),
    ...(onPath("ip") ? [] : ["iproute2"]),
    ...(existsSync("/etc/ssl/certs/ca-certificates.crt") ? [] : ["ca-certificates"]),
  ];
  if (missing.length === 0) return;
  if (!canInstallPackages()) {
    throw new SetUpError(`Cannot start a Docker engine: ${missing.join(", ")} missing.\nInstall them first.`);
  }
  await installPackages(missing, progress);
}

/** The processes of this machine. */
export function processes(): number[] {
  return readdirSync("/proc").map(Number).filter(Number.isInteger);
}

/** A file that the kernel has about a process; empty when that is gone. */
export function readProcess(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    return "";
  }
}
