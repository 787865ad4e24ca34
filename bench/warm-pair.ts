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

type Client = Pick<WarmServer, "client" | "sessionId" | "image">;

/** From the call of CreateContainer to the first output of `echo hello`, in milliseconds. The container is removed after it. */
export async function timeFirstOutput(server: Client): Promise<number> {
  const { took, containerId } = await firstOutputOf(server);
  await remove(server, containerId);
  return took;
}

/** The same of so many at once, until the last of them; they are removed when all have been heard. */
export async function timeLastFirstOutput(server: Client, count: number): Promise<number> {
  const all = await Promise.all(Array.from({ length: count }, () => firstOutputOf(server)));
  await Promise.all(all.map(({ containerId }) => remove(server, containerId)));
  return Math.max(...all.map(({ took }) => took));
}

async function firstOutputOf({ client, sessionId, image }: Client) {
  const begin = performance.now();
  const { containerId } = await client.orchestrator.createContainer(
    { sessionId, config: { image, command: ["echo", "hello"] } },
    { timeoutMs: 60_000 },
  );
  await using logs = client.orchestrator.streamContainerLogs({ containerId, follow: true });
  let took: number | undefined;
  let text = "";
  for await (const { data } of logs) {
    took ??= performance.now() - begin;
    text += Buffer.from(data).toString();
  }
  if (took === undefined || text !== "hello\n")
    throw new Error(`Cannot read the output of container "${containerId}": it is not what was written`);
  return { took, containerId };
}

async function remove({ client }: Client, containerId: string): Promise<void> {
  await client.orchestrator.removeContainer({ containerId, force: true }, { timeoutMs: 60_000 });
}
