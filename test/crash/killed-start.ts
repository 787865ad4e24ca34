import { dirname } from "node:path";
import { PROGRAM } from "../program.ts";
import type { ServerOptions } from "../server.ts";

/** Starts a server and kills it `afterMs` milliseconds later, wherever it is in its start by then. */
export async function killDuringStart(options: ServerOptions, afterMs: number): Promise<void> {
  const { dataDir = "", socketPath = "", dockerHost = "" } = options;
  const flags = ["--data-dir", dataDir, "--grpc-socket-path", socketPath, "--docker-host", dockerHost];
  const child = Bun.spawn([...PROGRAM, "serve", ...flags], {
    cwd: dirname(dataDir),
    stdin: "ignore",
    stdout: "ignore",
    stderr: "ignore",
  });
  await Bun.sleep(afterMs);
  child.kill("SIGKILL");
  await child.exited;
}
