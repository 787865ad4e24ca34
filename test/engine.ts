import { bringUpEngine } from "../scripts/engine.ts";
import { ensureImage, type ImageName } from "../scripts/image.ts";
import { toStderr } from "../scripts/progress.ts";

/** A real Docker engine for a test. */
export interface TestEngine {
  /** As in DOCKER_HOST: "unix:///…" or "tcp://…". */
  readonly dockerHost: string;
  /** The path of its Unix socket; throws where the engine is reached over TCP. */
  readonly socketPath: string;
  /** Has a shell, busybox's commands, and the users root and app (uid 1000). */
  readonly image: string;
  /** Another image: `python` has python3 with its standard library. The first use takes some seconds. */
  imageOf(name: ImageName): Promise<string>;
}

let shared: Promise<TestEngine> | undefined;

/**
 * The engine that tests run on: DOCKER_HOST, else the host's, else a private one that is started now and stays up for
 * the next run (`bun scripts/engine.ts down` ends it). Throws where there is none: tests on a real engine are never
 * skipped. Call it in beforeAll with a time-out of minutes, as the first call on a machine may install Docker.
 */
export function engine(): Promise<TestEngine> {
  shared ??= find();
  return shared;
}

async function find(): Promise<TestEngine> {
  const { dockerHost } = await bringUpEngine({ progress: toStderr, afterUse: "keep" });
  return {
    dockerHost,
    get socketPath() {
      if (!dockerHost.startsWith("unix://"))
        throw new Error(`Cannot give a socket path: it is "${dockerHost}"`);
      return dockerHost.slice("unix://".length);
    },
    image: await ensureImage(dockerHost, "busybox", toStderr),
    imageOf: (name) => ensureImage(dockerHost, name, toStderr),
  };
}
