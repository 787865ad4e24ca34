import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  addBridge,
  endDockerd,
  installDockerd,
  processes,
  readProcess,
  removeBridge,
  SYSTEM_PATH,
  startDockerd,
  unmountAll,
} from "./dockerd.ts";
import { whyUnusable } from "./engine-api.ts";
import { removeContents } from "./engine-contents.ts";
import * as state from "./engine-state.ts";
import { processStart } from "./process-start.ts";
import type { Progress } from "./progress.ts";
import { SetUpError } from "./set-up-error.ts";

const HOST = `unix://${state.ENGINE_SOCKET}`;
/** For an engine that runs beside another one, which has docker0. The network is one that hosts seldom use. */
const OWN_BRIDGE = "baaaht0";
const OWN_BRIDGE_ADDRESS = "10.213.87.1/24";

/**
 * Starts a Docker engine that shares nothing with one that the host may have: own data, exec-root, socket, pid file,
 * configuration and containerd. Call it with the engine's lock held. Installs docker.io where it is missing.
 *
 * @throws SetUpError with the end of the engine's log when it does not answer in time.
 */
export async function startPrivateEngine(root: string, progress: Progress): Promise<string> {
  await installDockerd(progress);
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
    await removeContents(HOST);
    await endDockerd(running.pid);
    await unmountAll(running.dataRoot);
    if (running.bridge !== undefined) await removeBridge(running.bridge);
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
    await addBridge({ name: OWN_BRIDGE, address: OWN_BRIDGE_ADDRESS });
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
  const execRoot = join(state.ENGINE_FOLDER, `exec-${Date.now().toString(36)}`);
  const log = join(folder, "dockerd.log");
  const isNew = network.bridge === OWN_BRIDGE || !existsSync(`/sys/class/net/${network.bridge}`);
  const bridge = isNew ? network.bridge : undefined;
  const settings = {
    socket: state.ENGINE_SOCKET,
    pidFile: state.ENGINE_PID_FILE,
    dataRoot,
    execRoot,
    log,
    configFile: join(folder, "daemon.json"),
    config: network.config,
    path: network.path,
    namespace: "baaaht",
  };
  const { pid, failed } = await startDockerd(settings, (started) =>
    state.writeState({
      pid: started,
      processStart: processStart(started) ?? "",
      execRoot,
      dataRoot,
      log,
      bridge,
    }),
  );
  if (failed === undefined) return undefined;
  if (pid > 0) await endDockerd(pid);
  state.forgetState();
  return failed;
}

async function removeOldExecRoots(): Promise<void> {
  if (!existsSync(state.ENGINE_FOLDER)) return;
  for (const name of readdirSync(state.ENGINE_FOLDER).filter((entry) => entry.startsWith("exec-"))) {
    const path = join(state.ENGINE_FOLDER, name);
    await unmountAll(path);
    rmSync(path, { recursive: true, force: true });
  }
}
