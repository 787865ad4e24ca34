import { rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { freshFolder } from "../client/grpc-server.ts";

/** A way to a server's socket on which connections can be cut, as by a network that breaks. */
export interface Way extends AsyncDisposable {
  readonly path: string;
  /** Cuts every connection that there is; new ones can be made at once. */
  cut(): void;
}

export async function wayTo(socketPath: string): Promise<Way> {
  const folder = await freshFolder();
  const path = join(folder.path, "way.sock");
  const open = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(socketPath);
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(one);
      one.pipe(other);
      one.on("error", () => other.destroy());
      one.on("close", () => {
        open.delete(one);
        other.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const cut = () => {
    for (const one of open) one.destroy();
  };
  return {
    path,
    cut,
    [Symbol.asyncDispose]: async () => {
      server.close();
      cut();
      rmSync(path, { force: true });
      await folder[Symbol.asyncDispose]();
    },
  };
}
