import type { IncomingMessage } from "node:http";
import { z } from "zod";
import { abortFailure, Failure, type FailureKind } from "../../failure.ts";
import type { CopyInto, PathStat, RuntimeId } from "../runtime.ts";
import type { Engine } from "./engine.ts";
import { inspectContainer } from "./facts.ts";
import { engineFailure, unreachable } from "./failures.ts";
import { named, pathOf } from "./lifecycle.ts";

export async function statPath(
  engine: Engine,
  id: RuntimeId,
  path: string,
  signal: AbortSignal,
): Promise<PathStat | undefined> {
  const doing = `look at "${path}" in ${named(id)}`;
  const request = { doing, method: "HEAD", path: `${pathOf(id)}/archive`, query: { path } } as const;
  let answer: IncomingMessage;
  try {
    answer = await engine.stream(request, signal);
  } catch (error) {
    if (!(error instanceof Failure) || error.kind !== "not_found") throw error;
    // The answer has no words that tell a path that is missing from a container that is.
    if ((await inspectContainer(engine, id, signal)) !== undefined) return undefined;
    throw new Failure("not_found", `Cannot ${doing}: No such container: ${id}`, { cause: error });
  }
  answer.destroy();
  const header = answer.headers["x-docker-container-path-stat"];
  const read = Stat.safeParse(parsed(typeof header === "string" ? header : ""));
  if (read.success) {
    const { pathName } = await engine.dialect(doing, signal);
    return statOf({ ...read.data, name: pathName(path, read.data.name) });
  }
  throw unreachable({ doing, endpoint: engine.endpoint.name }, "it does not say what is there", read.error);
}

export async function copyIn(
  engine: Engine,
  id: RuntimeId,
  { path, overwrite, archive }: CopyInto & { readonly archive: AsyncIterable<Uint8Array> },
  signal: AbortSignal,
): Promise<void> {
  const doing = `copy into "${path}" in ${named(id)}`;
  const { makesFolders } = await engine.dialect(doing, signal);
  if (makesFolders && (await statPath(engine, id, path, signal)) === undefined)
    throw new Failure("not_found", `Cannot ${doing}: there is no such folder`);
  await engine.send(
    {
      doing,
      method: "PUT",
      path: `${pathOf(id)}/archive`,
      query: { path, ...(overwrite === "anything" ? {} : { noOverwriteDirNonDir: 1 }) },
      boundMs: Number.POSITIVE_INFINITY, // as long as bytes come; one that does not live is noticed by its pings
      kinds: { 400: refusalKind, 403: "failed_precondition", 500: refusalKind },
    },
    archive,
    signal,
  );
}

export async function copyOut(
  engine: Engine,
  id: RuntimeId,
  path: string,
  signal: AbortSignal,
): Promise<AsyncIterable<Uint8Array>> {
  const doing = `copy "${path}" from ${named(id)}`;
  const request = { doing, method: "GET", path: `${pathOf(id)}/archive`, query: { path } } as const;
  const stream = await engine.stream(request, signal);
  return wholeStream(stream, { doing, endpoint: engine.endpoint.name, signal });
}

async function* wholeStream(
  stream: IncomingMessage,
  { signal, ...at }: { readonly doing: string; readonly endpoint: string; readonly signal: AbortSignal },
): AsyncGenerator<Uint8Array> {
  try {
    yield* stream;
    // A connection that breaks ends the stream as if it were whole.
    if (!stream.complete) throw unreachable(at, "it hung up in the middle of the archive");
  } catch (error) {
    if (signal.aborted) throw abortFailure(signal);
    throw engineFailure(error, at);
  } finally {
    stream.destroy();
  }
}

/** What the engine says of an archive, or of where it should go. */
function refusalKind(words: string): FailureKind {
  if (/unexpected EOF|archive\/tar|invalid tar|header|gzip|bzip2|\bxz\b|archive format/i.test(words)) {
    return "invalid_argument";
  }
  return /not a directory|cannot overwrite|read-only|is a directory|invalid symlink|breakout/i.test(words)
    ? "failed_precondition"
    : "unavailable";
}

const Stat = z.object({
  name: z.string(),
  size: z.number(),
  mode: z.number(),
  mtime: z.string(),
  linkTarget: z.string().default(""),
});

function parsed(header: string): unknown {
  try {
    return JSON.parse(Buffer.from(header, "base64").toString());
  } catch {
    return undefined;
  }
}

/** The engine writes modes as Go's os.FileMode, whose bits beyond the permissions are its own. */
const GO = { dir: 2 ** 31, link: 2 ** 27, special: 2 ** 26 + 2 ** 25 + 2 ** 24 + 2 ** 21 + 2 ** 19 } as const;
const GO_SPECIAL_PERMISSIONS = [
  [2 ** 23, 0o4000],
  [2 ** 22, 0o2000],
  [2 ** 20, 0o1000],
] as const;

function statOf({ name, size, mode, mtime, linkTarget }: z.infer<typeof Stat>): PathStat {
  const has = (bits: number): boolean => (BigInt(mode) & BigInt(bits)) !== 0n;
  const kind = has(GO.dir) ? "folder" : has(GO.link) ? "link" : has(GO.special) ? "other" : "file";
  const special = GO_SPECIAL_PERMISSIONS.reduce((sum, [bit, unix]) => sum + (has(bit) ? unix : 0), 0);
  return {
    name,
    kind,
    size: Math.max(0, size),
    mode: (mode % 0o1000) + special,
    modifiedAt: Math.max(0, Math.floor(Date.parse(mtime)) || 0),
    // Of what is no link some engines give its own path.
    linkTarget: kind === "link" ? linkTarget : "",
  };
}
