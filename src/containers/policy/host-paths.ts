import { constants } from "node:fs";
import { type FileHandle, open, readFile, readlink, stat, statfs } from "node:fs/promises";
import type { FoundPath, GuardedPath } from "./mount-policy.ts";

/** Linux's O_PATH: holds a place of the file system without opening what is there. */
const O_PATH = 0o10000000;

/** File systems through which the kernel can be read or changed, by the numbers that statfs has for them. */
const kernelFileSystems: ReadonlyMap<number, string> = new Map([
  [0x9fa0, "proc"],
  [0x62656572, "sysfs"],
  [0x27e0eb, "cgroup"],
  [0x63677270, "cgroup2"],
  [0x64626720, "debugfs"],
  [0x74726163, "tracefs"],
  [0x73636673, "securityfs"],
  [0xcafe4a11, "bpf"],
  [0x6165676c, "pstore"],
  [0x1cd1, "devpts"],
]);
const kernelTypes = new Set([...kernelFileSystems.values(), "devtmpfs"]);

/** Which file it is, however it is reached: device, inode, and when that was made, as inodes are used again. */
export type FileIdentity = `${bigint}:${bigint}:${bigint}`;

/** A place of this host that is held, so that it stays the same file whatever is renamed around it. */
export interface Pin extends AsyncDisposable {
  /** Where it is now, without symbolic links. */
  path(): Promise<string>;
  readonly identity: FileIdentity;
  /** The mount that it was reached through. */
  mountId(): Promise<string>;
  readonly isLink: boolean;
  readonly isDevice: boolean;
  readonly handle: FileHandle;
}

/** Holds what is at a path. Throws as `open` does. `links`: whether one at its end is followed. */
export async function pin(path: string, links: "followed" | "held" = "followed"): Promise<Pin> {
  const handle = await open(path, O_PATH | (links === "held" ? constants.O_NOFOLLOW : 0));
  const own = `/proc/self/fd/${handle.fd}`;
  try {
    const found = await handle.stat({ bigint: true });
    return {
      path: () => readlink(own),
      identity: `${found.dev}:${found.ino}:${found.birthtimeNs}`,
      mountId: async () =>
        /^mnt_id:\s*(\d+)/m.exec(await readFile(`/proc/self/fdinfo/${handle.fd}`, "utf8"))?.[1] ?? "",
      isLink: found.isSymbolicLink(),
      isDevice: found.isBlockDevice() || found.isCharacterDevice(),
      handle,
      [Symbol.asyncDispose]: () => handle.close(),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** The error's code, such as ENOENT; undefined for what is no error of the system. */
export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

/** What is at the source of a bind mount, and the pin that holds it. */
export async function findPath(
  source: string,
  guarded: readonly GuardedPath[],
): Promise<{ readonly found: FoundPath; readonly pinned?: Pin }> {
  let pinned: Pin;
  try {
    pinned = await pin(source);
  } catch (error) {
    const code = codeOf(error);
    if (code === undefined) throw error;
    if (code === "ENOENT" || code === "ENOTDIR") return { found: { kind: "missing" } };
    return { found: { kind: "hidden", reason: `the server can't look at it (${code})` } };
  }
  try {
    const path = await pinned.path();
    return { found: { kind: "there", path, guarded: await whatIsGuarded(pinned, path, guarded) }, pinned };
  } catch (error) {
    await pinned[Symbol.asyncDispose]();
    throw error;
  }
}

/** The same places under the names that they really have: `/var/run` may lead to `/run`. */
export async function realGuards(guarded: readonly GuardedPath[]): Promise<readonly GuardedPath[]> {
  const real = guarded.map(async ({ path, what }) => {
    try {
      await using pinned = await pin(path);
      return [{ path: await pinned.path(), what }];
    } catch (error) {
      if (codeOf(error) === undefined) throw error;
      return []; // what is not there is guarded under the name that it would have
    }
  });
  return [...guarded, ...(await Promise.all(real)).flat()];
}

/** What no container gets although its path does not tell: reached by another mount, a hard link, or mounted below. */
async function whatIsGuarded(pinned: Pin, path: string, guarded: readonly GuardedPath[]): Promise<string> {
  if (pinned.isDevice) return "is a device";
  const type = kernelFileSystems.get((await statfs(`/proc/self/fd/${pinned.handle.fd}`)).type);
  if (type !== undefined) return `is of the kernel (${type})`;
  const known = new Map<FileIdentity, string>();
  for (const { path: place, what } of guarded) {
    const identity = await identityOf(place);
    if (identity !== undefined) known.set(identity, what);
  }
  const same = known.get(pinned.identity);
  if (same !== undefined) return `is ${same}`;
  for (const mount of await mountsBelow(path)) {
    if (kernelTypes.has(mount.type)) return `holds ${mount.at}, which is of the kernel (${mount.type})`;
    const held = known.get((await identityOf(mount.at)) ?? "0:0:0");
    if (held !== undefined) return `holds ${held} (${mount.at})`;
  }
  return "";
}

async function identityOf(path: string): Promise<FileIdentity | undefined> {
  try {
    const { dev, ino, birthtimeNs } = await stat(path, { bigint: true });
    return `${dev}:${ino}:${birthtimeNs}`;
  } catch (error) {
    if (codeOf(error) === undefined) throw error;
    return undefined;
  }
}

/** What is mounted under a path: it comes along when the path is. */
async function mountsBelow(path: string): Promise<readonly { readonly at: string; readonly type: string }[]> {
  const root = path === "/" ? "/" : `${path}/`;
  return (await readFile("/proc/self/mountinfo", "utf8")).split("\n").flatMap((line) => {
    const [front = "", back = ""] = line.split(" - ");
    const at = unescaped(front.split(" ")[4] ?? "");
    return at.startsWith(root) ? [{ at, type: back.split(" ")[0] ?? "" }] : [];
  });
}

/** Blanks and the like are octal there. */
function unescaped(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}
