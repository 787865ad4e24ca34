import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { basename, join, resolve } from "node:path";
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
/**
 * Puts a command into a session of its own, where Ctrl-C on our terminal does not reach it, and makes it nobody's child:
 * `bun test` kills the children that it has when a test takes too long, and the engine is for the others too.
 */
const FORKED = ["setsid", "--fork"];
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
    await startKeeper(folders);
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
  const pidFile = join(folders.run, "pid");
  const launcher = Bun.spawn([...FORKED, "sh", "-c", LAUNCH, pidFile, ...command], {
    cwd: folders.data, // Podman's monitors leave files where they were started
    stdio: ["ignore", out, out],
    env: { ...process.env, PATH: SYSTEM_PATH, ...env },
  });
  closeSync(out);
  await launcher.exited;
  const reason = await answering(folders.run);
  if (reason === undefined) return;
  const tail = readFileSync(log, "utf8").trim().split("\n").slice(-15).join("\n");
  throw new SetUpError(`Cannot start ${recipe.name}: ${reason}. The end of its log:\n${tail}`);
}

/** Says its pid and becomes the engine. */
const LAUNCH = `echo $$ > "$0" && exec "$@"`;

/** Undefined as soon as the engine answers, else why not within the time. */
async function answering(run: string): Promise<string | undefined> {
  const socket = join(run, "engine.sock");
  const deadline = performance.now() + START_TIMEOUT_MS;
  for (;;) {
    const reason = existsSync(socket) ? await whyUnusable(`unix://${socket}`) : "there is no socket yet";
    if (reason === undefined) return undefined;
    const pid = readIfThere(join(run, "pid")).trim();
    if (pid !== "" && processStart(Number(pid)) === undefined) return "it has ended";
    if (performance.now() > deadline)
      return `it did not answer within ${START_TIMEOUT_MS / 1000} s (${reason})`;
    // An engine says nothing when it is ready, apart from answering.
    await Bun.sleep(50);
  }
}

/**
 * Starts a process that ends an engine should this one be killed, and that ends with the engine. Whoever reads our stderr
 * to its end waits for that too.
 */
async function startKeeper({ run }: EngineFolders): Promise<void> {
  const keeper = Bun.spawn([...FORKED, process.execPath, import.meta.path, basename(run)], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  await keeper.exited;
}

/** @param name of the engine's folder; its whole path in the command line would make us a part of the engine. */
async function keep(name: string): Promise<void> {
  const run = join(FOLDERS, name);
  // Only its parent is told of a process's end.
  while (isOwned(run)) await Bun.sleep(200);
  if (!existsSync(run)) return;
  using _lock = await lockFile(join(FOLDERS, "lock"), LOCK_TIMEOUT_MS);
  await endForgotten();
}

/** Whether the process lives that an engine is for. */
function isOwned(run: string): boolean {
  const [pid, started] = readIfThere(join(run, "owner")).split(" ");
  return started !== undefined && processStart(Number(pid)) === started;
}

function readIfThere(path: string): string {
  return existsSync(path) ? readFileSync(path, "utf8") : "";
}

/** Engines whose process was killed before it could end them. */
async function endForgotten(): Promise<void> {
  for (const entry of readdirSync(FOLDERS, { withFileTypes: true }).filter((each) => each.isDirectory())) {
    const run = join(FOLDERS, entry.name);
    if (isOwned(run)) continue;
    const data = readIfThere(join(run, "data-folder")) || run;
    await endEngine({ run, data, bridge: `bht${entry.name}` });
  }
}

/** Its name is random, so whoever has it in his command line belongs to it: the engine, its containerd, its monitors. */
async function endEngine({ run, data, bridge }: EngineFolders): Promise<void> {
  await removeContents(`unix://${join(run, "engine.sock")}`);
  const isIts = (pid: number): boolean => {
    const command = readProcess(pid, "cmdline");
    return command.includes(run) || command.includes(data);
  };
  const pid = Number(readIfThere(join(run, "pid")));
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

if (import.meta.main) await keep(process.argv[2] ?? "");
