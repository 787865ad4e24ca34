import { spawn } from "node:child_process";
import { existsSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { canInstallPackages, installPackages } from "./debian-packages.ts";
import { callEngine, whyUnusable } from "./engine-api.ts";
import * as state from "./engine-state.ts";
import { parentOf, processStart } from "./process-start.ts";
import type { Progress } from "./progress.ts";
import { runCommand } from "./run-command.ts";
import { SetUpError } from "./set-up-error.ts";

const START_TIMEOUT_MS = 90_000;
const STOP_TIMEOUT_MS = 30_000;
const HOST = `unix://${state.ENGINE_SOCKET}`;
/** For an engine that runs beside another one, which has docker0. The network is one that hosts seldom use. */
const OWN_BRIDGE = "baaaht0";
const OWN_BRIDGE_ADDRESS = "10.213.87.1/24";
const SYSTEM_PATH = `${process.env.PATH ?? ""}:/usr/local/sbin:/usr/sbin:/sbin`;

/**
 * Starts a Docker engine that shares nothing with one that the host may have: own data, exec-root, socket, pid file,
 * configuration and containerd. Call it with the engine's lock held. Installs docker.io where it is missing.
 *
 * @throws SetUpError with the end of the engine's log when it does not answer in time.
 */
export async function startPrivateEngine(root: string, progress: Progress): Promise<string> {
  await installMissing(progress);
  await stopPrivateEngine(progress);
  await removeOldExecRoots();
  progress("  starting a private Docker engine");
  let failure = "";
  for (const network of await networkSetups()) {
    const reason = await tryStart(root, network);
    if (reason === undefined) return HOST;
    failure = reason;
    // Only a firewall that the kernel does not carry is worth another attempt with other settings.
    if (!/iptables/i.test(reason)) break;
  }
  throw new SetUpError(failure);
}

/** Stops the engine that we started, with its containerd and whatever ran in it. Nothing happens where there is none. */
export async function stopPrivateEngine(progress: Progress): Promise<void> {
  const running = state.readState();
  if (running !== undefined) {
    progress("  stopping the private Docker engine");
    await removeContents();
    await endProcess(running.pid);
    await unmountAll(running.dataRoot);
    await removeBridge(running.bridge);
  }
  state.forgetState();
  await removeOldExecRoots();
}

/** The host of the private engine when it is up and answers. */
export async function privateEngineHost(): Promise<string | undefined> {
  if (state.readState() === undefined) return undefined;
  return (await whyUnusable(HOST)) === undefined ? HOST : undefined;
}

interface NetworkSetup {
  readonly config: Record<string, unknown>;
  /** The network interface of its default network. */
  readonly bridge: string;
  readonly path: string;
}

/** What to try, best first: the host's iptables, its older kind, none at all. */
async function networkSetups(): Promise<NetworkSetup[]> {
  const plain: NetworkSetup = { config: {}, bridge: "docker0", path: SYSTEM_PATH };
  const bare: NetworkSetup = { ...plain, config: { iptables: false, ip6tables: false } };
  // Two engines with one firewall flush each other's chains, and both would claim docker0.
  if (otherEngineRuns()) {
    await addBridge();
    return [{ ...bare, bridge: OWN_BRIDGE, config: { ...bare.config, bridge: OWN_BRIDGE } }];
  }
  const legacy = "/usr/sbin/iptables-legacy";
  if (!existsSync(legacy)) return [plain, bare];
  const shims = join(state.ENGINE_FOLDER, "legacy");
  mkdirSync(shims, { recursive: true });
  for (const name of ["iptables", "ip6tables"]) {
    const script = `#!/bin/sh\nexec /usr/sbin/${name}-legacy "$@"\n`;
    writeFileSync(join(shims, name), script, { mode: 0o755 });
  }
  return [plain, { ...plain, path: `${shims}:${SYSTEM_PATH}` }, bare];
}

/** Not `bridge: none`: an engine that starts with that deletes docker0, whoever it belongs to. */
async function addBridge(): Promise<void> {
  for (const words of [
    ["link", "add", "name", OWN_BRIDGE, "type", "bridge"],
    ["address", "replace", OWN_BRIDGE_ADDRESS, "dev", OWN_BRIDGE],
    ["link", "set", OWN_BRIDGE, "up"],
  ]) {
    const done = await runCommand(["ip", ...words], { env: { PATH: SYSTEM_PATH } });
    if (done.exitCode !== 0 && !done.output.includes("File exists")) {
      throw new SetUpError(
        `Cannot start a private Docker engine beside the one that runs: ${done.output.trim()}`,
      );
    }
  }
}

function otherEngineRuns(): boolean {
  return processes().some(
    (pid) => readProcess(pid, "comm").trim() === "dockerd" && processStart(pid) !== undefined,
  );
}

/** Undefined when the engine answers, else why it did not come up. */
async function tryStart(root: string, network: NetworkSetup): Promise<string | undefined> {
  const folder = join(root, ".cache", "engine");
  mkdirSync(folder, { recursive: true });
  const dataRoot = join(folder, "data");
  await unmountAll(dataRoot);
  // A fresh one each time: what a killed engine leaves in it can make the next start hang on its containerd.
  const execRoot = join(state.ENGINE_FOLDER, `exec-${Date.now().toString(36)}`);
  const log = join(folder, "dockerd.log");
  const config = join(folder, "daemon.json");
  writeFileSync(config, JSON.stringify(daemonConfig(dataRoot, execRoot, network), undefined, 2));
  const isNew = network.bridge === OWN_BRIDGE || !existsSync(`/sys/class/net/${network.bridge}`);
  const bridge = isNew ? network.bridge : undefined;
  const out = openSync(log, "w");
  const child = spawn("dockerd", ["--config-file", config], {
    detached: true, // its own session: Ctrl-C on our terminal is for us, not for it
    stdio: ["ignore", out, out],
    env: { ...process.env, PATH: network.path },
  });
  const ended = new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (code, signal) => resolve(`it ended with ${code ?? signal}`));
  });
  child.unref();
  const pid = child.pid;
  if (pid === undefined) return `Cannot start dockerd: ${await ended}`;
  state.writeState({ pid, processStart: processStart(pid) ?? "", execRoot, dataRoot, log, bridge });
  const reason = await Promise.race([ended, answering(START_TIMEOUT_MS)]);
  if (reason === undefined) return undefined;
  await endProcess(pid);
  state.forgetState();
  const tail = readFileSync(log, "utf8").trim().split("\n").slice(-15).join("\n");
  return `Cannot start a private Docker engine: ${reason}. The end of its log, "${log}":\n${tail}`;
}

function daemonConfig(dataRoot: string, execRoot: string, network: NetworkSetup): Record<string, unknown> {
  // Next to a containerd that runs already, dockerd uses that one: then in a namespace of our own.
  const shared = existsSync("/run/containerd/containerd.sock");
  const namespaces = { "containerd-namespace": "baaaht", "containerd-plugin-namespace": "baaaht-plugins" };
  return {
    hosts: [HOST],
    "data-root": dataRoot,
    "exec-root": execRoot,
    pidfile: state.ENGINE_PID_FILE,
    "userland-proxy": false,
    "shutdown-timeout": 5,
    ...(shared ? namespaces : {}),
    ...network.config,
  };
}

/** Undefined as soon as the engine answers, else why not within the time. */
async function answering(timeoutMs: number): Promise<string | undefined> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const reason = existsSync(state.ENGINE_SOCKET) ? await whyUnusable(HOST) : "there is no socket yet";
    if (reason === undefined) return undefined;
    if (performance.now() > deadline) return `it did not answer within ${timeoutMs / 1000} s (${reason})`;
    // An engine says nothing when it is ready, apart from answering.
    await Bun.sleep(50);
  }
}

async function installMissing(progress: Progress): Promise<void> {
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

/** So that the engine has nothing to wait for and leaves no interface behind. What is in a private engine is ours. */
async function removeContents(): Promise<void> {
  try {
    await Promise.all(
      (await ids("/containers/json?all=1")).map((id) => remove(`/containers/${id}?force=1&v=1`)),
    );
    await Promise.all(
      (await ids(`/networks?filters={"type":["custom"]}`)).map((id) => remove(`/networks/${id}`)),
    );
  } catch {
    // An engine that does not answer is ended all the same.
  }
}

async function ids(path: string): Promise<string[]> {
  const listed = await callEngine(HOST, path);
  // The engine's own list: an array of objects with an Id.
  return ((await listed.json()) as { readonly Id: string }[]).map(({ Id }) => Id);
}

async function remove(path: string): Promise<void> {
  await callEngine(HOST, path, { method: "DELETE" });
}

/** Asks, then makes it end. A killed dockerd leaves its containerd behind, so that goes too. */
async function endProcess(pid: number): Promise<void> {
  const family = [pid, ...processes().filter((other) => parentOf(other) === pid)];
  const starts = new Map(family.map((member) => [member, processStart(member)]));
  const alive = (): number[] =>
    family.filter(
      (member) => starts.get(member) !== undefined && processStart(member) === starts.get(member),
    );
  for (const [signal, waitMs] of [
    ["SIGTERM", STOP_TIMEOUT_MS],
    ["SIGKILL", 5_000],
  ] as const) {
    for (const member of signal === "SIGTERM" ? [pid] : alive()) {
      try {
        process.kill(member, signal);
      } catch {
        // It went between the look and the signal.
      }
    }
    const deadline = performance.now() + waitMs;
    // Not always our child, and then its end is no event for us.
    while (alive().length > 0 && performance.now() < deadline) await Bun.sleep(50);
  }
}

async function removeOldExecRoots(): Promise<void> {
  if (!existsSync(state.ENGINE_FOLDER)) return;
  for (const name of readdirSync(state.ENGINE_FOLDER).filter((entry) => entry.startsWith("exec-"))) {
    const path = join(state.ENGINE_FOLDER, name);
    await unmountAll(path);
    rmSync(path, { recursive: true, force: true });
  }
}

/** An engine mounts its folders on themselves, and one that was killed leaves them so: nobody could delete them. */
async function unmountAll(folder: string): Promise<void> {
  const points = readFileSync("/proc/self/mounts", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[1] ?? "");
  for (const point of points.filter((each) => each === folder || each.startsWith(`${folder}/`)).reverse()) {
    await runCommand(["umount", "--lazy", point]);
  }
}

/** An engine leaves its bridge behind. */
async function removeBridge(name: string | undefined): Promise<void> {
  if (name !== undefined) await runCommand(["ip", "link", "delete", name], { env: { PATH: SYSTEM_PATH } });
}

function processes(): number[] {
  return readdirSync("/proc").map(Number).filter(Number.isInteger);
}

function readProcess(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    return "";
  }
}
