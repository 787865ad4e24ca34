import { lstat, realpath, stat } from "node:fs/promises";
import { basename, dirname, resolve } from "node:path";
import type { Client } from "../client/client.ts";
import { Failure } from "../failure.ts";
import { gathered } from "../gathered.ts";
import { PathKind, type PathStat } from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { bytesText } from "./bytes-text.ts";
import { clientCommand } from "./client-command.ts";
import { word } from "./command.ts";
import { Drawing } from "./drawing.ts";
import { EXIT_CODES } from "./exit-codes.ts";
import { findContainerId } from "./find-id.ts";
import { problem, toggle } from "./flag.ts";
import { packed } from "./pack.ts";
import type { Shell } from "./shell.ts";
import { stopOnSignals } from "./stop-on-signals.ts";
import { unpack } from "./unpack.ts";

/** How large a frame is at least. */
const frameBytes = 512 * 1024;
/** How many links are followed one after the other. */
const maxLinks = 16;

export const cpCommand = clientCommand({
  name: "cp",
  summary: "copy files and folders into a container or out of it",
  description: `One of SOURCE and TARGET is CONTAINER:PATH, the other a path of this machine, or - for a tar archive on stdin or stdout.
The container need not run.

A file goes into TARGET when that is a folder, else to TARGET itself. A folder goes into TARGET when that is a folder;
when nothing is there, TARGET becomes the folder. SOURCE/. is what is in the folder. The folder that TARGET is in has to be
there.

What comes from a container is not trusted: nothing is written outside TARGET, devices are left out, and setuid bits are
dropped unless --archive is given. How far it is shows on stderr when that is a terminal.`,
  words: {
    source: word({ about: "what to copy: PATH, CONTAINER:PATH, or -" }),
    target: word({ about: "where to: PATH, CONTAINER:PATH, or -" }),
  },
  flags: {
    archive: toggle({
      about: "keep owners (else root in a container, you here), and setuid bits",
      short: "a",
    }),
    followLink: toggle({ about: "copy what SOURCE leads to when it is a link", short: "L" }),
  },
  callTimeoutMs: 60_000,
  examples: [
    { about: "a file in", line: "baaaht container cp data.csv 0192f3a4:/tmp/" },
    { about: "a folder out, under another name", line: "baaaht container cp 0192f3a4:/srv/out ./results" },
    { about: "what is in a folder", line: "baaaht container cp ./src/. 0192f3a4:/srv" },
    { about: "as an archive, for another program", line: "baaaht container cp 0192f3a4:/etc - | tar -t" },
  ],
  run: async ({ client, flags, words, shell }) => {
    const source = placeOf(words.source);
    const target = placeOf(words.target);
    if ((source.kind === "container") === (target.kind === "container"))
      throw problem("one of SOURCE and TARGET has to be CONTAINER:PATH, and the other one not");
    using stop = stopOnSignals(shell, flags.timeout);
    const copy: Copy = {
      client,
      shell,
      signal: stop.signal,
      keepsOwners: flags.archive,
      followsLink: flags.followLink,
      isQuiet: flags.quiet,
    };
    try {
      if (target.kind === "container") await copyIn(copy, source, target);
      else if (source.kind === "container") await copyOut(copy, source, target);
    } catch (error) {
      if (stop.exitCode() === undefined) throw error;
    }
    return (await stop.ended()) ?? EXIT_CODES.ok;
  },
});

interface Copy {
  readonly client: Client;
  readonly shell: Shell;
  readonly signal: AbortSignal;
  readonly keepsOwners: boolean;
  readonly followsLink: boolean;
  readonly isQuiet: boolean;
}

type Place =
  | { readonly kind: "stream" }
  | { readonly kind: "local"; readonly path: string }
  | { readonly kind: "container"; readonly container: string; readonly path: string };

/** As `docker cp` reads it: what begins with / or . is a path of this machine, whatever colons it has. */
function placeOf(text: string): Place {
  if (text === "-") return { kind: "stream" };
  const colon = text.indexOf(":");
  if (colon < 0 || /^[./]/.test(text)) return { kind: "local", path: text };
  if (colon === 0) throw problem(`names no container before its colon: "${text}"`);
  const path = text.slice(colon + 1);
  if (path === "") throw problem(`names no path behind its colon: "${text}"`);
  return {
    kind: "container",
    container: text.slice(0, colon),
    path: path.startsWith("/") ? path : `/${path}`,
  };
}

/** What a path that is copied says by its end. */
function ending(path: string): {
  readonly plain: string;
  readonly isContent: boolean;
  readonly isFolder: boolean;
} {
  const isContent = /(^|\/)\.\/*$/.test(path);
  const plain = (isContent ? path.replace(/\.\/*$/, "") : path).replace(/\/+$/, "");
  return {
    plain: plain === "" ? (path.startsWith("/") ? "/" : ".") : plain,
    isContent,
    isFolder: path.endsWith("/"),
  };
}

async function copyIn(
  copy: Copy,
  source: Place,
  target: Extract<Place, { kind: "container" }>,
): Promise<void> {
  const { client, shell, signal } = copy;
  const containerId = await findContainerId(client, target.container);
  const there = await followed(copy, containerId, target.path);
  if (source.kind === "stream") {
    if (there?.stat.kind !== PathKind.FOLDER) throw noFolder(target.path, there?.stat);
    await send(copy, { containerId, path: there.path }, shell.in.read(signal));
    return;
  }
  if (source.kind !== "local") return;
  const { plain, isContent, isFolder } = ending(source.path);
  const found = await localKind(plain, copy.followsLink || isContent || isFolder);
  if (found === undefined)
    throw new Failure("not_found", `Cannot copy "${source.path}": there is no such file or folder`);
  if (found !== "folder" && (isContent || isFolder))
    throw new Failure("failed_precondition", `Cannot copy "${source.path}": it is not a folder`);
  const place = placeIn({ there, path: target.path, found, name: basename(resolve(plain)), isContent });
  const archive = packed({
    path: plain,
    name: place.name,
    links: copy.followsLink || isContent || isFolder ? "followed" : "kept",
    owners: copy.keepsOwners ? "as_here" : "root",
    warn: (message) => shell.err.write(`${message}\n`),
  });
  await send(copy, { containerId, path: place.folder }, archive);
}

/** Where something goes in a container, and under which name. */
function placeIn(wanted: {
  readonly there: { readonly path: string; readonly stat: PathStat } | undefined;
  readonly path: string;
  readonly found: LocalKind;
  readonly name: string;
  readonly isContent: boolean;
}): { readonly folder: string; readonly name: string } {
  const { there, path, found, name, isContent } = wanted;
  if (there === undefined) {
    const { plain, isFolder } = ending(path);
    if (isFolder && found !== "folder") throw noFolder(path, undefined);
    return { folder: dirname(plain), name: basename(plain) };
  }
  if (there.stat.kind === PathKind.FOLDER) return { folder: there.path, name: isContent ? "." : name };
  if (found === "folder" || ending(path).isFolder) throw noFolder(path, there.stat);
  return { folder: dirname(there.path), name: basename(there.path) };
}

async function send(
  copy: Copy,
  start: { readonly containerId: string; readonly path: string },
  archive: AsyncIterable<Uint8Array>,
): Promise<void> {
  await using progress = progressOn(copy);
  let broken: { readonly error: unknown } | undefined;
  async function* frames() {
    yield { payload: { case: "start" as const, value: start } };
    try {
      for await (const data of gathered(archive, frameBytes)) {
        progress?.add(data.byteLength);
        yield { payload: { case: "data" as const, value: data } };
      }
    } catch (error) {
      broken = { error };
      throw error;
    }
  }
  try {
    await copy.client.orchestrator.copyToContainer(frames(), { signal: copy.signal });
  } catch (error) {
    // What was wrong here is told as it was, and not as the call's end.
    throw broken === undefined ? error : broken.error;
  }
}

async function copyOut(
  copy: Copy,
  source: Extract<Place, { kind: "container" }>,
  target: Place,
): Promise<void> {
  const { client, shell, signal } = copy;
  const containerId = await findContainerId(client, source.container);
  const { plain, isContent, isFolder } = ending(source.path);
  const follows = copy.followsLink || isContent || isFolder;
  const { stat: found } = await client.orchestrator.statContainerPath({ containerId, path: plain });
  const there = follows ? await followed(copy, containerId, plain) : { path: plain, stat: required(found) };
  if (there === undefined)
    throw new Failure("not_found", `Cannot copy "${source.path}": it is a link that leads nowhere`);
  if ((isContent || isFolder) && there.stat.kind !== PathKind.FOLDER)
    throw new Failure("failed_precondition", `Cannot copy "${source.path}": it is not a folder`);
  if (target.kind === "stream" && shell.out.isTerminal)
    throw problem("an archive is not for a terminal: put stdout into a file or a pipe");
  const place =
    target.kind === "local"
      ? await placeHere(target.path, { ...there, name: basename(plain), isContent })
      : undefined;
  await using frames = client.orchestrator.copyFromContainer({ containerId, path: there.path }, { signal });
  await using progress = progressOn(copy);
  async function* archive() {
    for await (const { data } of frames) {
      progress?.add(data.byteLength);
      if (data.byteLength > 0) yield data;
    }
  }
  if (place === undefined) {
    for await (const piece of archive()) await shell.out.write(piece);
    return;
  }
  await unpack(archive(), {
    ...place,
    owners: copy.keepsOwners ? "as_archived" : "mine",
    warn: (message) => shell.err.write(`${message}\n`),
  });
}

/** Where something of a container goes on this machine, and under which name. */
async function placeHere(
  path: string,
  wanted: { readonly stat: PathStat; readonly name: string; readonly isContent: boolean },
): Promise<{ readonly folder: string; readonly name: string }> {
  const { stat: found, name, isContent } = wanted;
  const isRoot = name === "" || name === "/";
  const there = await localKind(path, true);
  if (there === "folder") return { folder: await realpath(path), name: isContent || isRoot ? "" : name };
  const { plain, isFolder } = ending(path);
  const isOfFolder = found.kind === PathKind.FOLDER;
  if (there !== undefined && (isOfFolder || isFolder))
    throw new Failure("failed_precondition", `Cannot copy to "${path}": it is not a folder`);
  if (there === undefined && isFolder && !isOfFolder)
    throw new Failure("not_found", `Cannot copy to "${path}": there is no such folder`);
  const whole = there === undefined ? resolve(plain) : await realpath(plain);
  if ((await localKind(dirname(whole), true)) !== "folder")
    throw new Failure("not_found", `Cannot copy to "${path}": there is no folder "${dirname(whole)}"`);
  return { folder: await realpath(dirname(whole)), name: basename(whole) };
}

type LocalKind = "file" | "folder" | "link" | "other";

async function localKind(path: string, follows: boolean): Promise<LocalKind | undefined> {
  try {
    const found = follows ? await stat(path) : await lstat(path);
    if (found.isDirectory()) return "folder";
    return found.isFile() ? "file" : found.isSymbolicLink() ? "link" : "other";
  } catch (error) {
    if (!(error instanceof Error) || !("code" in error)) throw error;
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
    throw new Failure("failed_precondition", `Cannot look at "${path}": ${error.message}`, { cause: error });
  }
}

/** What is at a path of a container behind its links; undefined when nothing is. */
async function followed(
  { client }: Copy,
  containerId: string,
  path: string,
): Promise<{ readonly path: string; readonly stat: PathStat } | undefined> {
  let at = ending(path).plain;
  for (let links = 0; links < maxLinks; links += 1) {
    try {
      const { stat: found } = await client.orchestrator.statContainerPath({ containerId, path: at });
      if (found?.kind !== PathKind.LINK) return { path: at, stat: required(found) };
      at = found.linkTarget;
    } catch (error) {
      if (Failure.from(error)?.details.reason === "PATH_NOT_FOUND") return undefined;
      throw error;
    }
  }
  throw new Failure(
    "failed_precondition",
    `Cannot copy "${path}": it leads through more than ${maxLinks} links`,
  );
}

function required(found: PathStat | undefined): PathStat {
  if (found !== undefined) return found;
  throw new Failure("internal", "Cannot read the server's answer: it does not say what is at the path");
}

function noFolder(path: string, found: PathStat | undefined): Failure {
  const why = found === undefined ? "there is no such folder in the container" : "it is not a folder";
  return new Failure(
    found === undefined ? "not_found" : "failed_precondition",
    `Cannot copy to "${path}": ${why}`,
  );
}

/** How far it is, for whoever looks on. */
function progressOn({
  shell: { err, now },
  isQuiet,
}: Copy): (AsyncDisposable & { add(bytes: number): void }) | undefined {
  if (!err.isTerminal || isQuiet) return undefined;
  const startedAt = now();
  let total = 0;
  const drawing = new Drawing(err, () => {
    const seconds = Math.max(0.001, (now() - startedAt) / 1000);
    return `copied ${bytesText(total)}, ${bytesText(total / seconds)} a second\n`;
  });
  return {
    add: (bytes) => {
      total += bytes;
      drawing.changed();
    },
    [Symbol.asyncDispose]: () => drawing[Symbol.asyncDispose](),
  };
}
