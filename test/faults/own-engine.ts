import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
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
} from "../../scripts/dockerd.ts";
import { ensureImage } from "../../scripts/image.ts";
import { parentOf, processStart } from "../../scripts/process-start.ts";
import { toStderr } from "../../scripts/progress.ts";
import { SetUpError } from "../../scripts/set-up-error.ts";

const prefix = "baaaht-faults-";

/** A Docker engine that a test may stop, kill and hide: nobody else uses it. Disposing ends it and all that ran in it. */
export class OwnEngine implements AsyncDisposable {
  readonly image: string;
  readonly #folder: string;
  readonly #bridge: string;
  #pid: number;
  #starts = 1;

  private constructor(parts: { folder: string; bridge: string; pid: number; image: string }) {
    this.#folder = parts.folder;
    this.#bridge = parts.bridge;
    this.#pid = parts.pid;
    this.image = parts.image;
  }

  /** Whether this user may start one: that takes root on Linux. */
  static get isPossible(): boolean {
    return process.platform === "linux" && process.getuid?.() === 0;
  }

  static async start(): Promise<OwnEngine> {
    await installDockerd(toStderr);
    await removeLeftOver();
    const folder = mkdtempSync(join(tmpdir(), prefix));
    writeFileSync(join(folder, "owner"), `${process.pid} ${processStart(process.pid)}`);
    const bridge = `bf${process.pid}`;
    writeFileSync(join(folder, "bridge"), bridge);
    // A network that hosts seldom use, and another one for each engine that may run at the same time.
    await addBridge({ name: bridge, address: `10.213.${88 + (process.pid % 100)}.1/24` });
    try {
      const pid = await launch(folder, { bridge, count: 0 });
      const image = await ensureImage(hostOf(folder), "busybox", toStderr);
      return new OwnEngine({ folder, bridge, pid, image });
    } catch (error) {
      await remove(folder);
      throw error;
    }
  }

  get socketPath(): string {
    return join(this.#folder, "engine.sock");
  }

  /** Where it keeps what it has. */
  get dataRoot(): string {
    return join(this.#folder, "data");
  }

  get dockerHost(): string {
    return hostOf(this.#folder);
  }

  /** Ends the engine's processes and everything that runs in it at one blow, as the loss of its machine would. */
  async kill(): Promise<void> {
    const folder = this.#folder;
    process.kill(this.#pid, "SIGKILL");
    await killFamily(folder);
    await unmountAll(folder);
    for (const name of ["engine.sock", "dockerd.pid"]) rmSync(join(folder, name), { force: true });
  }

  /** Ends the engine as an operator would: what runs in it is stopped. */
  async stop(): Promise<void> {
    await endDockerd(this.#pid);
  }

  /** Starts it again on what it has on disk. */
  async startAgain(): Promise<void> {
    this.#pid = await launch(this.#folder, { bridge: this.#bridge, count: this.#starts });
    this.#starts += 1;
  }

  /** Its process stands still; its socket takes connections. */
  freeze(): void {
    process.kill(this.#pid, "SIGSTOP");
  }

  thaw(): void {
    process.kill(this.#pid, "SIGCONT");
  }

  /** Takes its socket's file away, and puts it back. */
  hideSocket(): void {
    renameSync(this.socketPath, `${this.socketPath}.hidden`);
  }

  showSocket(): void {
    renameSync(`${this.socketPath}.hidden`, this.socketPath);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (processStart(this.#pid) !== undefined) process.kill(this.#pid, "SIGKILL");
    await remove(this.#folder);
  }
}

/** Networks for hundreds of sessions, that other engines of this host don't choose by themselves. */
function pool(): { readonly base: string; readonly size: number } {
  return { base: `10.${214 + (process.pid % 32)}.0.0/16`, size: 24 };
}

function hostOf(folder: string): string {
  return `unix://${join(folder, "engine.sock")}`;
}

async function launch(
  folder: string,
  { bridge, count }: { readonly bridge: string; readonly count: number },
): Promise<number> {
  const setpriv = Bun.which("setpriv");
  const { pid, failed } = await startDockerd({
    socket: join(folder, "engine.sock"),
    pidFile: join(folder, "dockerd.pid"),
    dataRoot: join(folder, "data"),
    execRoot: join(folder, `x${count}`),
    log: join(folder, `dockerd-${count}.log`),
    configFile: join(folder, "daemon.json"),
    // Two engines with one firewall flush each other's chains.
    config: { iptables: false, ip6tables: false, bridge, "default-address-pools": [pool()] },
    path: SYSTEM_PATH,
    namespace: `baaaht-faults-${process.pid}`,
    // Ends with the test's process, also when that is killed.
    ...(setpriv === null ? {} : { under: [setpriv, "--pdeathsig", "KILL", "--"] }),
  });
  if (failed !== undefined) throw new SetUpError(failed);
  return pid;
}

async function remove(folder: string): Promise<void> {
  await killFamily(folder);
  await unmountAll(folder);
  const bridge = join(folder, "bridge");
  if (existsSync(bridge)) await removeBridge(readFileSync(bridge, "utf8"));
  rmSync(folder, { recursive: true, force: true });
}

/** What runs of the daemon, its containerd, the shims that stand between it and its containers, and these themselves. */
async function killFamily(folder: string): Promise<void> {
  for (;;) {
    const all = processes();
    const ours = new Set(all.filter((pid) => isEnginePart(pid, folder)));
    for (let size = -1; size !== ours.size; ) {
      size = ours.size;
      for (const pid of all) if (ours.has(parentOf(pid) ?? 0)) ours.add(pid);
    }
    const alive = [...ours].filter((pid) => processStart(pid) !== undefined);
    if (alive.length === 0) return;
    for (const pid of alive) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It went between the look and the signal.
      }
    }
    // They are not our children: their end is no event for us.
    await Bun.sleep(20);
  }
}

/** A server that uses the engine names its folder too, and is none of it. */
function isEnginePart(pid: number, folder: string): boolean {
  const isPart = /^(dockerd|containerd|runc|docker-)/.test(readProcess(pid, "comm"));
  return isPart && readProcess(pid, "cmdline").includes(`${folder}/`);
}

/** Engines of test processes that were killed. */
async function removeLeftOver(): Promise<void> {
  mkdirSync(tmpdir(), { recursive: true });
  for (const name of readdirSync(tmpdir()).filter((entry) => entry.startsWith(prefix))) {
    const folder = join(tmpdir(), name);
    const owner = join(folder, "owner");
    if (!existsSync(owner)) continue;
    const [pid, start] = readFileSync(owner, "utf8").split(" ");
    if (processStart(Number(pid)) !== start) await remove(folder);
  }
}
