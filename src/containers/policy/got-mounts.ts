import { readlink } from "node:fs/promises";
import { posix } from "node:path";
import { codeOf, type FileIdentity, type Pin, pin } from "./host-paths.ts";

/** A folder or file of the host that a container was to get. */
export interface WantedMount {
  /** Without symbolic links. */
  readonly source: string;
  readonly target: string;
}

/** As Linux has it. */
const mostLinks = 40;

/**
 * Why what a container has at its bind mounts is not what it was to get; undefined when it is. Between the check of a
 * path and the engine's use of it, somebody may have put another file there: this looks at what the container itself has.
 *
 * A container that has ended, or that this process may not look into, shows nothing. Then what is at the path now has to
 * be what was there before.
 *
 * @param pid of the container's main process; undefined when it has ended
 * @param files what was at the sources when they were checked; without them, what is there now counts
 */
export async function mountsDiffer(
  wanted: readonly WantedMount[],
  seen: { readonly pid: number | undefined; readonly files?: ReadonlyMap<string, FileIdentity> },
): Promise<string | undefined> {
  const mounts = new Set<string>();
  for (const { source, target } of wanted) {
    const now = await identityNow(source);
    const before = seen.files === undefined ? now : seen.files.get(source);
    if (before === undefined) return `${source} is not there any more, or leads elsewhere now`;
    const got = await gotAt(seen.pid, target);
    if (got === undefined) {
      if (now !== before) return `${source} is another file than when it was checked`;
      continue;
    }
    if (got.identity !== before) return `${target} is another file than ${source} was when it was checked`;
    // One mount can't stand for two: a container could lead one target to another's with a symbolic link.
    if (mounts.has(got.mountId)) return `${target} is not a mount of its own`;
    mounts.add(got.mountId);
  }
  return undefined;
}

/** What is at a path now, if that is its real name; undefined otherwise. */
async function identityNow(path: string): Promise<FileIdentity | undefined> {
  try {
    await using pinned = await pin(path);
    return (await pinned.path()) === path ? pinned.identity : undefined;
  } catch (error) {
    if (codeOf(error) === undefined) throw error;
    return undefined;
  }
}

interface Got {
  readonly identity: FileIdentity | "nothing";
  readonly mountId: string;
}

/** Undefined when the container can't be looked into. */
async function gotAt(pid: number | undefined, target: string): Promise<Got | undefined> {
  if (pid === undefined) return undefined;
  await using held = new AsyncDisposableStack();
  let root: Pin;
  try {
    root = held.use(await pin(`/proc/${pid}/root`));
  } catch (error) {
    if (codeOf(error) === undefined) throw error;
    return undefined;
  }
  const got = await lookAt(root, { target, held });
  // A process that has ended meanwhile has taken its mounts along.
  return (await hasRoot(pid)) ? got : undefined;
}

async function lookAt(
  root: Pin,
  { target, held }: { readonly target: string; readonly held: AsyncDisposableStack },
): Promise<Got> {
  try {
    const found = await walk(root, { path: target, held });
    return { identity: found.identity, mountId: await found.mountId() };
  } catch (error) {
    if (codeOf(error) === undefined) throw error;
    return { identity: "nothing", mountId: "" };
  }
}

async function hasRoot(pid: number): Promise<boolean> {
  try {
    await using _root = await pin(`/proc/${pid}/root`);
    return true;
  } catch (error) {
    if (codeOf(error) === undefined) throw error;
    return false;
  }
}

/** Goes down from a root as a process in it would: symbolic links never lead out of it. */
async function walk(
  root: Pin,
  { path, held }: { readonly path: string; readonly held: AsyncDisposableStack },
): Promise<Pin> {
  const way: Pin[] = [root];
  let left = path.split("/");
  for (let links = 0; left.length > 0; ) {
    const [part = "", ...rest] = left;
    left = rest;
    if (part === "" || part === ".") continue;
    if (part === "..") {
      if (way.length > 1) way.pop();
      continue;
    }
    const here = way.at(-1) ?? root;
    const at = posix.join(`/proc/self/fd/${here.handle.fd}`, part);
    const next = held.use(await pin(at, "held"));
    if (!next.isLink) {
      way.push(next);
      continue;
    }
    links += 1;
    if (links > mostLinks) throw Object.assign(new Error("too many symbolic links"), { code: "ELOOP" });
    const to = await readlink(at);
    if (to.startsWith("/")) way.length = 1;
    left = [...to.split("/"), ...left];
  }
  return way.at(-1) ?? root;
}
