import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

/** A socket before an engine's own on which one kind of request arrives late, or never. Disposing takes it away. */
export interface HeldEngine extends AsyncDisposable {
  readonly dockerHost: string;
  /** Resolves when such a request is held. */
  readonly held: Promise<void>;
}

/**
 * @param request what the first line of the requests looks like that are held
 * @param meanwhile what is done before such a request goes on; without it, it never does
 */
export async function holdEngine(
  enginePath: string,
  request: RegExp,
  meanwhile?: () => void,
): Promise<HeldEngine> {
  const path = join(mkdtempSync(join(tmpdir(), "baaaht-held-")), "docker.sock");
  const sockets = new Set<Socket>();
  const { promise: held, resolve: isHeld } = Promise.withResolvers<void>();
  const server = createServer({ allowHalfOpen: true }, (client) => {
    const engine = connect({ path: enginePath, allowHalfOpen: true });
    for (const socket of [client, engine]) {
      sockets.add(socket);
      socket.on("error", () => {});
    }
    client.on("close", () => engine.destroy());
    engine.on("close", () => client.destroy());
    engine.pipe(client);
    client.on("data", (bytes: Buffer) => {
      const isWanted = request.test(bytes.toString("latin1").split("\r\n")[0] ?? "");
      if (isWanted) {
        meanwhile?.();
        isHeld();
      }
      if (!isWanted || meanwhile !== undefined) engine.write(bytes);
    });
    client.on("end", () => engine.end());
  });
  await new Promise<void>((listening) => server.listen(path, listening));
  return {
    dockerHost: `unix://${path}`,
    held,
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
      rmSync(dirname(path), { recursive: true });
    },
  };
}
