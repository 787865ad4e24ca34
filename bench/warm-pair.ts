import { ensureImage } from "../scripts/image.ts";
import { startServer } from "../test/server.ts";
import type { Bench } from "./figure.ts";

/** A server that keeps containers prepared, with a session. */
export interface WarmServer extends AsyncDisposable {
  readonly client: Awaited<ReturnType<typeof startServer>>["client"];
  readonly sessionId: string;
  readonly image: string;
  readonly dockerHost: string;
  readonly pid: number;
  /** Resolves when so many containers wait. */
  untilPrepared(count: number): Promise<void>;
}

export async function warmServer(bench: Bench, prepared: number): Promise<WarmServer> {
  const { dockerHost } = await bench.engine();
  const image = await ensureImage(dockerHost, "busybox", bench.progress);
  const env = {
    BAAAHT_WARM_IMAGES: image,
    BAAAHT_WARM_MAX_CONTAINERS: String(prepared),
    BAAAHT_WARM_PER_SHAPE: String(Math.max(1, prepared)),
  };
  const server = await startServer({ program: [bench.program], dockerHost, env });
  const { client } = server;
  const { sessionId } = await client.orchestrator.createSession({ config: { maxContainers: 500 } });
  return {
    client,
    sessionId,
    image,
    dockerHost,
    pid: server.pid,
    untilPrepared: async (count) => {
      while ((await client.orchestrator.getStatus({})).preparedContainers < count) await Bun.sleep(20);
    },
    [Symbol.asyncDispose]: async () => {
      try {
        await client.orchestrator.closeSession({ sessionId }, { timeoutMs: 120_000 });
      } finally {
        await server[Symbol.asyncDispose]();
      }
    },
  };
}

/** From the call of CreateContainer to the first output of `echo hello`, of a container that is removed after it. Milliseconds. */
export async function timeFirstOutput({
  client,
  sessionId,
  image,
}: Pick<WarmServer, "client" | "sessionId" | "image">): Promise<number> {
  const begin = performance.now();
  const { containerId } = await client.orchestrator.createContainer(
    { sessionId, config: { image, command: ["echo", "hello"] } },
    { timeoutMs: 60_000 },
  );
  await using logs = client.orchestrator.streamContainerLogs({ containerId, follow: true });
  const first = await logs[Symbol.asyncIterator]().next();
  const took = performance.now() - begin;
  if (first.done || Buffer.from(first.value.data).toString() !== "hello\n")
    throw new Error(`Cannot read the output of container "${containerId}": it is not what was written`);
  await client.orchestrator.removeContainer({ containerId, force: true }, { timeoutMs: 60_000 });
  return took;
}
