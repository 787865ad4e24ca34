import { spawn } from "node:child_process";
import { existsSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { canInstallPackages, installPackages } from "./debian-packages.ts";
import { endDockerd, processes, readProcess, removeBridge, SYSTEM_PATH, unmountAll } from "./dockerd.ts";
import { whyUnusable } from "./engine-api.ts";
import { removeContents } from "./engine-contents.ts";
import { lockFile } from "./file-lock.ts";
import { processStart } from "./process-start.ts";
import type { Progress } from "./progress.ts";
import { SetUpError } from "./set-up-error.ts";

/** Short, because a Unix socket's path may have 107 bytes at most. */
const FOLDERS = "/run/baaaht-engines";
const DATA_FOLDERS = resolve(import.meta.dir, "..", ".cache", "engines");
const START_TIMEOUT_MS = 60_000;
/** Long enough for another process that installs packages while it holds the lock. */
const LOCK_TIMEOUT_MS = 600_000;

/** An engine of this process alone. Disposing ends it with all that ran in it, and deletes its folders. */
export interface OwnEngine extends AsyncDisposable {
  /** Its Unix socket, as in DOCKER_HOST. */
  readonly dockerHost: string;
}

/** What belongs to one engine and to no other. */
interface EngineFolders {
  /** For sockets and what is gone with the machine's next start. */
  readonly run: string;
  /** For images and containers. */
  readonly data: string;
  /** A name for a network interface, of at most 15 characters. */
  readonly bridge: string;
}

export interface EngineRecipe {
  /** As in messages: `Podman`. */
  readonly name: string;
  /** Commands that have to be there, and Debian's packages that bring them. */
  readonly needs: Readonly<Record<string, string>>;
  /** Writes its configuration and returns its command line; it is to listen on `engine.sock` in the run folder. */
  prepare(folders: EngineFolders): Promise<{
    readonly command: readonly string[];
    readonly env?: Readonly<Record<string, string>>;
  }>;
}

/**
 * Starts an engine that shares nothing with others: not their folders, sockets, images or networks. What an earlier
 * process left that was killed is cleaned up first.
 *
 * @throws SetUpError when it can't be installed or does not answer, with the end of its log.
 */
export async function startOwnEngine(recipe: EngineRecipe, progress: Progress): Promise<OwnEngine> {
  if (process.platform !== "linux" || process.getuid?.() !== 0)
    throw new SetUpError(`Cannot start ${recipe.name}: that takes root on Linux.`);
  mkdirSync(FOLDERS, { recursive: true, mode: 0o700 });
  using _lock = await lockFile(join(FOLDERS, "lock"), LOCK_TIMEOUT_MS);
  await installMissing(recipe, progress);
  await endForgotten();
  progress(`  starting ${recipe.name}`);
  const folders = makeFolders();
  const dockerHost = `unix://${join(folders.run, "engine.sock")}`;
  const engine = { dockerHost, [Symbol.asyncDispose]: () => endEngine(folders) };
  try {
    await start(recipe, folders);
    return engine;
  } catch (error) {
    await engine[Symbol.asyncDispose]();
    throw error;
  }
}

/** Installs what an engine needs where it is missing. */
export async function installMissing({ name, needs }: EngineRecipe, progress: Progress): Promise<void> {
  const missing = Object.entries(needs).flatMap(([command, debianPackage]) =>
    Bun.which(command, { PATH: SYSTEM_PATH }) === null && !existsSync(command) ? [debianPackage] : [],
  );
  if (missing.length === 0) return;
  if (!canInstallPackages())
    throw new SetUpError(`Cannot start ${name}: ${missing.join(", ")} missing.\nInstall them first.`);
  await installPackages([...new Set(missing)], progress);
}

function makeFolders(): EngineFolders {
  const name = crypto.randomUUID().slice(0, 8);
  const folders = { run: join(FOLDERS, name), data: join(DATA_FOLDERS, name), bridge: `bht${name}` };
  for (const folder of [folders.run, folders.data]) mkdirSync(folder, { recursive: true, mode: 0o700 });
  writeFileSync(join(folders.run, "data-folder"), folders.data);
  writeFileSync(join(folders.run, "owner"), `${process.pid} ${processStart(process.pid)}`);
  return folders;
}

async function start(recipe: EngineRecipe, folders: EngineFolders): Promise<void> {
  const { command, env } = await recipe.prepare(folders);
  const log = join(folders.data, "engine.log");
  const out = openSync(log, "w");
  const [program = "", ...args] = command;
  const child = spawn(program, args, {
    detached: true, // its own session: Ctrl-C on our terminal is for us, not for it
    stdio: ["ignore", out, out],
    env: { ...process.env, PATH: SYSTEM_PATH, ...env },
  });
  const ended = new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (code, signal) => resolve(`it ended with ${code ?? signal}`));
  });
  child.unref();
  if (child.pid !== undefined) writeFileSync(join(folders.run, "pid"), String(child.pid));
  const reason = await Promise.race([ended, answering(join(folders.run, "engine.sock"))]);
  if (reason === undefined) return;
  const tail = readFileSync(log, "utf8").trim().split("\n").slice(-15).join("\n");
  throw new SetUpError(`Cannot start ${recipe.name}: ${reason}. The end of its log:\n${tail}`);
}

/** Undefined as soon as the engine answers, else why not within the time. */
async function answering(socket: string): Promise<string | undefined> {
  const deadline = performance.now() + START_TIMEOUT_MS;
  for (;;) {
    const reason = existsSync(socket) ? await whyUnusable(`unix://${socket}`) : "there is no socket yet";
    if (reason === undefined) return undefined;
    if (performance.now() > deadline)
      return `it did not answer within ${START_TIMEOUT_MS / 1000} s (${reason})`;
    // An engine says nothing when it is ready, apart from answering.
    await Bun.sleep(50);
  }
}

/** Engines whose process was killed before it could end them. */
async function endForgotten(): Promise<void> {
  for (const entry of readdirSync(FOLDERS, { withFileTypes: true }).filter((each) => each.isDirectory())) {
    const run = join(FOLDERS, entry.name);
    const read = (file: string): string =>
      existsSync(join(run, file)) ? readFileSync(join(run, file), "utf8") : "";
    const [pid = "", started] = read("owner").split(" ");
    if (started !== undefined && processStart(Number(pid)) === started) continue;
    await endEngine({ run, data: read("data-folder") || run, bridge: `bht${entry.name}` });
  }
}

/** Its name is random, so whoever has it in his command line belongs to it: the engine, its containerd, its monitors. */
async function endEngine({ run, data, bridge }: EngineFolders): Promise<void> {
  await removeContents(`unix://${join(run, "engine.sock")}`);
  const isIts = (pid: number): boolean => {
    const command = readProcess(pid, "cmdline");
    return command.includes(run) || command.includes(data);
  };
  const pidFile = join(run, "pid");
  const pid = existsSync(pidFile) ? Number(readFileSync(pidFile, "utf8")) : 0;
  if (isIts(pid)) await endDockerd(pid);
  // Podman's monitors of commands wait for minutes, and nobody asks them any more.
  for (const left of processes().filter(isIts)) kill(left);
  for (const folder of [run, data]) {
    await unmountAll(folder);
    rmSync(folder, { recursive: true, force: true });
  }
  if (existsSync(`/sys/class/net/${bridge}`)) await removeBridge(bridge);
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It went between the look and the signal.
  }
}
