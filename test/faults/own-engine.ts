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
  endDockerd,
  installDockerd,
  processes,
  readProcess,
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
  #pid: number;
  #starts = 1;

  private constructor(parts: { folder: string; pid: number; image: string }) {
    this.#folder = parts.folder;
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
    try {
      const pid = await launch(folder, 0);
      const image = await ensureImage(hostOf(folder), "busybox", toStderr);
      return new OwnEngine({ folder, pid, image });
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
    this.#pid = await launch(this.#folder, this.#starts);
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

function hostOf(folder: string): string {
  return `unix://${join(folder, "engine.sock")}`;
}

async function launch(folder: string, count: number): Promise<number> {
  const { pid, failed } = await startDockerd({
    socket: join(folder, "engine.sock"),
    pidFile: join(folder, "dockerd.pid"),
    dataRoot: join(folder, "data"),
    execRoot: join(folder, `x${count}`),
    log: join(folder, `dockerd-${count}.log`),
    configFile: join(folder, "daemon.json"),
    config: { iptables: false, ip6tables: false },
    path: SYSTEM_PATH,
    namespace: `baaaht-faults-${process.pid}`,
    // In a network of its own, so that the bridges of an engine that was killed go with it, and take no addresses from
    // others. Ends with the test's process, also when that is killed. Both are of util-linux, which every Linux has.
    under: ["setpriv", "--pdeathsig", "KILL", "--", "unshare", "--net", "--"],
  });
  if (failed !== undefined) throw new SetUpError(failed);
  return pid;
}

async function remove(folder: string): Promise<void> {
  await killFamily(folder);
  await unmountAll(folder);
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
