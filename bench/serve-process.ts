import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Subprocess } from "bun";
import type { Bench } from "./figure.ts";

/** Runs `serve` with all that it has in one folder, without waiting for anything. */
export function serveIn(
  bench: Bench,
  folder: string,
): { readonly child: Subprocess; readonly socketPath: string } {
  mkdirSync(folder, { recursive: true });
  const socketPath = join(folder, "s.sock");
  const flags = ["--data-dir", join(folder, "data"), "--grpc-socket-path", socketPath];
  const child = Bun.spawn(
    [bench.program, "serve", ...flags, "--docker-host", `unix://${join(folder, "no-engine.sock")}`],
    { stdin: "ignore", stdout: "ignore", stderr: "ignore" },
  );
  return { child, socketPath };
}
