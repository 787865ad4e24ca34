import { z } from "zod";
import { Failure, type FailureKind } from "../../failure.ts";
import type { PullProgress } from "../runtime.ts";
import type { Engine } from "./engine.ts";
import { plainWords, unreachable } from "./failures.ts";
import { jsonLines } from "./json-lines.ts";

/**
 * The image's id (`sha256:` and the digest of its configuration), which every local image has, tagged, imported or built;
 * digests of a registry's manifest are known only for images that were pulled.
 */
export async function imageDigest(
  engine: Engine,
  image: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    return (await inspectImage(engine, image, signal)).Id;
  } catch (error) {
    if (error instanceof Failure && error.kind === "not_found") return undefined;
    throw error;
  }
}

/** What an image runs when nobody says otherwise. */
export async function imageCommand(
  engine: Engine,
  image: string,
  signal: AbortSignal,
): Promise<{ readonly entrypoint: readonly string[]; readonly args: readonly string[] }> {
  const { Config } = await inspectImage(engine, image, signal);
  return { entrypoint: Config?.Entrypoint ?? [], args: Config?.Cmd ?? [] };
}

const Words = z.array(z.string()).nullish();
const Image = z.object({ Id: z.string(), Config: z.object({ Entrypoint: Words, Cmd: Words }).nullish() });

function inspectImage(engine: Engine, image: string, signal: AbortSignal): Promise<z.infer<typeof Image>> {
  // An image name's slashes are part of the engine's path.
  const path = `/images/${image.split("/").map(encodeURIComponent).join("/")}/json`;
  return engine.call({ doing: `inspect image "${image}"`, method: "GET", path }, Image, signal);
}

/** Fetches an image without credentials. A name without a tag or digest means `latest`. */
export async function* pullImage(
  engine: Engine,
  image: string,
  signal: AbortSignal,
): AsyncGenerator<PullProgress> {
  const doing = `pull image "${image}"`;
  const stream = await engine.stream(
    {
      doing,
      method: "POST",
      path: "/images/create",
      query: reference(image),
      boundMs: FIRST_STEP_MS,
      kinds: { 500: pullKind },
    },
    signal,
  );
  try {
    for await (const step of jsonLines(stream, Step)) {
      if (step.error !== undefined) throw pullFailure(doing, step.error);
      yield {
        status: step.status,
        layer: step.id,
        currentBytes: step.progressDetail?.current ?? 0,
        totalBytes: step.progressDetail?.total ?? 0,
        ...digestOf(step.status),
      };
    }
  } catch (error) {
    throw error instanceof Failure
      ? error
      : unreachable({ doing, endpoint: engine.endpoint.name }, String(error), error);
  }
}

/** How long the engine may ask registries before it says anything, in milliseconds. */
const FIRST_STEP_MS = 600_000;

const Step = z.object({
  status: z.string().default(""),
  id: z.string().default(""),
  error: z.string().optional(),
  progressDetail: z.object({ current: z.number().optional(), total: z.number().optional() }).nullish(),
});

/** The engine takes name and tag apart, and would fetch every tag for a name without one. */
function reference(image: string): { readonly fromImage: string; readonly tag: string } {
  const at = image.indexOf("@");
  if (at >= 0) return { fromImage: image.slice(0, at), tag: image.slice(at + 1) };
  const colon = image.lastIndexOf(":");
  if (colon > image.lastIndexOf("/"))
    return { fromImage: image.slice(0, colon), tag: image.slice(colon + 1) };
  return { fromImage: image, tag: "latest" };
}

function pullFailure(doing: string, error: string): Failure {
  const words = plainWords(error);
  return new Failure(pullKind(words), `Cannot ${doing}: ${words}`);
}

/** The engine passes on what the registry said, mostly with the status 500 or in the middle of the stream. */
function pullKind(words: string): FailureKind {
  if (/no space left on device/i.test(words)) return "resource_exhausted";
  const gone = /not found|does not exist|manifest unknown|access denied|unauthorized|no matching manifest/i;
  return gone.test(words) ? "not_found" : "unavailable";
}

function digestOf(status: string): { digest?: string } {
  const digest = /^Digest: (\S+)$/.exec(status)?.[1];
  return digest === undefined ? {} : { digest };
}
