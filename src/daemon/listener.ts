import {
  chmodSync,
  closeSync,
  lstatSync,
  openSync,
  readdirSync,
  renameSync,
  type Stats,
  statSync,
  unlinkSync,
} from "node:fs";
import { connect } from "node:net";
import { basename, dirname, join, resolve } from "node:path";
import { ServerCredentials } from "@grpc/grpc-js";
import { Failure } from "../failure.ts";
import { endCalls, type RpcServer, stopCalls } from "../rpc/adapter.ts";
import { boundConnections, boundDeadlines, joinWrites } from "../rpc/http2.ts";
import { tryLock } from "./libc.ts";

/** A server that is reached by a Unix socket; disposing of it stops the server. */
export interface Listener extends AsyncDisposable {
  /** Absolute. */
  readonly path: string;
}

export interface ListenOptions {
  readonly path: string;
  /** How long calls may take to finish when the listener is disposed of, before they are ended. */
  readonly graceMs: number;
  /** Further connections are closed at once; without end when absent. */
  readonly maxConnections?: number;
}

/**
 * Serves on a Unix socket that only this user may connect to. The socket appears under its name when it is ready. A
 * socket that a dead server left is replaced, that of a live one is not.
 *
 * Disposing of it takes the socket away, tells open calls to stop, waits `graceMs` for them, and ends those that remain.
 *
 * @throws Failure that says what is in the way and what to do about it.
 */
export async function listen(server: RpcServer, options: ListenOptions): Promise<Listener> {
  const path = resolve(options.path);
  const unfinished = `${path}.${process.pid}`;
  checkLength(path, unfinished);
  checkFolder(path);
  using _ = await lockFolder(dirname(path));
  await clearWay(path);
  clearUnfinished(path, unfinished);
  await clearForgotten(path);
  await bind(server, path, unfinished);
  if (options.maxConnections !== undefined) boundConnections(server.grpc, options.maxConnections);
  const own = lstatSync(unfinished);
  renameSync(unfinished, path);
  return {
    path,
    async [Symbol.asyncDispose]() {
      if (isSame(lstat(path), own)) unlinkSync(path);
      await shutDown(server, options.graceMs);
    },
  };
}

/** What the kernel's sockaddr_un has room for, without the NUL at its end. macOS has 4 less. */
const SOCKET_PATH_BYTES = process.platform === "darwin" ? 103 : 107;

/** How long another server may take to come up in the same folder. */
const FOLDER_LOCK_MS = 2_000;

/** What remains of the calls after their grace gets this long to reach the clients. */
const LAST_WORDS_MS = 100;

function cannot(path: string, state: string, cause?: unknown): Failure {
  return new Failure("failed_precondition", `Cannot serve on "${path}": ${state}`, { cause });
}

function checkLength(path: string, unfinished: string): void {
  const longer = Buffer.byteLength(unfinished) - Buffer.byteLength(path);
  const room = SOCKET_PATH_BYTES - longer;
  const length = Buffer.byteLength(path);
  if (length <= room) return;
  throw new Failure(
    "invalid_argument",
    `Cannot serve on "${path}": the path has ${length} bytes, and that of a socket may have ${room} here; choose a shorter one`,
  );
}

function checkFolder(path: string): void {
  const folder = dirname(path);
  const stats = statSync(folder, { throwIfNoEntry: false });
  if (stats === undefined) {
    throw new Failure(
      "not_found",
      `Cannot serve on "${path}": there is no folder "${folder}"; make it with: mkdir -p -m 700 '${folder}'`,
    );
  }
  if (!stats.isDirectory()) throw cannot(path, `"${folder}" is not a folder`);
  if ((stats.mode & WRITABLE_BY_ALL) !== 0 && (stats.mode & STICKY) === 0) {
    throw cannot(
      path,
      `anyone may replace files in "${folder}"; choose another folder, or: chmod o-w '${folder}'`,
    );
  }
}

const WRITABLE_BY_ALL = 0o002;
const STICKY = 0o1000;

/**
 * Keeps two servers that start at once from both taking a dead server's socket for vacant. A folder that can't be
 * locked in time, or not at all, is used nevertheless: others may lock it for as long as they like.
 */
async function lockFolder(folder: string): Promise<Disposable> {
  const fd = openFolder(folder);
  if (fd === undefined) return { [Symbol.dispose]() {} };
  const deadline = performance.now() + FOLDER_LOCK_MS;
  // A lock has no event to wait for, and waiting inside of the kernel would stop this process.
  while (!tryLock(fd) && performance.now() < deadline) await Bun.sleep(20);
  return { [Symbol.dispose]: () => closeSync(fd) };
}

function openFolder(folder: string): number | undefined {
  try {
    return openSync(folder, "r");
  } catch {
    return undefined;
  }
}

/** Makes sure that nothing lies at `path`, or only the socket of a server that is gone. */
async function clearWay(path: string): Promise<void> {
  const found = lstat(path);
  if (found === undefined) return;
  if (!found.isSocket()) throw cannot(path, `there is ${kindOf(found)} of this name, which is not a socket`);
  const answer = await knock(path);
  switch (answer) {
    case "connected":
    case "EAGAIN": // alive, and too busy to take one more connection
      throw cannot(path, "another baaaht serves on it; stop that one, or choose another path");
    case "ECONNREFUSED":
    case "ENOENT":
      return;
    default:
      throw cannot(
        path,
        `there is a socket of this name, owned by uid ${found.uid}, that can't be asked (${answer})`,
      );
  }
}

/** Connects to a socket and leaves again; the error's code when that fails. */
async function knock(path: string): Promise<string> {
  const { promise, resolve: answer } = Promise.withResolvers<string>();
  const socket = connect(path);
  socket.once("connect", () => answer("connected"));
  socket.once("error", (error) => answer("code" in error ? String(error.code) : error.message));
  try {
    return await promise;
  } finally {
    socket.destroy();
  }
}

/** A process of the same id may have died between binding and renaming. */
function clearUnfinished(path: string, unfinished: string): void {
  const found = lstat(unfinished);
  if (found === undefined) return;
  if (!found.isSocket()) throw cannot(path, `"${unfinished}" is in the way, ${kindOf(found)}; remove it`);
  unlinkSync(unfinished);
}

/** Other processes may have, and nobody would take away what they have left. */
async function clearForgotten(path: string): Promise<void> {
  const start = `${basename(path)}.`;
  for (const name of namesIn(dirname(path)).filter((each) => each.startsWith(start))) {
    const pid = name.slice(start.length);
    const left = join(dirname(path), name);
    if (!/^\d{1,10}$/.test(pid) || isAlive(Number(pid)) || lstat(left)?.isSocket() !== true) continue;
    // The process may be alive where its id is another one.
    if ((await knock(left)) === "ECONNREFUSED") unlinkSync(left);
  }
}

/** None where the folder can't be read. */
function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return !(error instanceof Error && "code" in error && error.code === "ESRCH");
  }
}

async function bind(server: RpcServer, path: string, unfinished: string): Promise<void> {
  const { promise, resolve: bound, reject } = Promise.withResolvers<void>();
  // Others must not be able to connect between the bind and the chmod.
  const umask = process.umask(0o177);
  try {
    server.grpc.bindAsync(`unix:${unfinished}`, ServerCredentials.createInsecure(), (error) => {
      if (error === null) bound();
      else reject(cannot(path, error.message, error));
    });
    await promise;
  } finally {
    process.umask(umask);
  }
  chmodSync(unfinished, 0o600);
  boundDeadlines(server.grpc);
  joinWrites(server.grpc);
}

async function shutDown(server: RpcServer, graceMs: number): Promise<void> {
  stopCalls(server);
  const finished = new Promise<void>((resolveFinished) => server.grpc.tryShutdown(() => resolveFinished()));
  await within(finished, graceMs);
  endCalls(server);
  await within(finished, LAST_WORDS_MS);
  server.grpc.forceShutdown();
}

/** Waits for `wait`, `ms` at most. */
async function within(wait: Promise<void>, ms: number): Promise<void> {
  const { promise, resolve: giveUp } = Promise.withResolvers<void>();
  const timer = setTimeout(giveUp, ms);
  await Promise.race([wait, promise]);
  clearTimeout(timer);
}

function lstat(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}

function isSame(found: Stats | undefined, own: Stats): boolean {
  return found !== undefined && found.ino === own.ino && found.dev === own.dev;
}

function kindOf(found: Stats): string {
  if (found.isSymbolicLink()) return "a symbolic link";
  if (found.isDirectory()) return "a folder";
  return found.isFile() ? "a file" : "a device or pipe";
}
