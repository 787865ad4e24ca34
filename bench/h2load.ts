import { canInstallPackages, installPackages } from "../scripts/debian-packages.ts";
import type { Progress } from "../scripts/progress.ts";
import { SetUpError } from "../scripts/set-up-error.ts";

/** Many calls of one method with one request, over one connection. */
export interface Load {
  readonly socketPath: string;
  /** Such as `/grpc.health.v1.Health/Check`. */
  readonly path: string;
  /** A file with the request as HTTP/2 carries it: see `framed`. */
  readonly requestFile: string;
  readonly calls: number;
  readonly inFlight: number;
}

export interface LoadResult {
  readonly callsPerSecond: number;
  /** Of all answers together, with the 5 bytes before each message; an answer that is an error has none. */
  readonly dataBytes: number;
}

/**
 * Makes sure that there is h2load: a client in C, so that the server is what is measured.
 *
 * @throws SetUpError that says what to install where it can't be installed.
 */
export async function ensureH2load(progress: Progress): Promise<void> {
  if (Bun.which("h2load") !== null) return;
  if (!canInstallPackages()) {
    throw new SetUpError(
      "Cannot find h2load, which makes the load.\nInstall it (on Debian: apt-get install nghttp2-client).",
    );
  }
  await installPackages(["nghttp2-client"], progress);
}

/** Runs the load to its end. Throws when a call failed in HTTP/2; what gRPC says of it shows in `dataBytes`. */
export async function runLoad(load: Load): Promise<LoadResult> {
  const child = Bun.spawn(
    [
      "h2load",
      ...["-n", `${load.calls}`, "-c", "1", "-t", "1", "-m", `${load.inFlight}`, "-d", load.requestFile],
      ...["-H", "content-type: application/grpc", "-H", "te: trailers"],
      `--base-uri=unix:${load.socketPath}`,
      `http://localhost${load.path}`,
    ],
    { stdin: "ignore", stdout: "pipe", stderr: "pipe" },
  );
  const [text, errors] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  await child.exited;
  const succeeded = Number(/ (\d+) succeeded, 0 failed, 0 errored, 0 timeout/.exec(text)?.[1]);
  const callsPerSecond = Number(/finished in [^,]+, ([\d.]+) req\/s/.exec(text)?.[1]);
  const dataBytes = Number(/headers[^)]*\), [^(]*\((\d+)\) data/.exec(text)?.[1]);
  if (succeeded !== load.calls || !(callsPerSecond > 0) || Number.isNaN(dataBytes)) {
    throw new Error(`Cannot load ${load.path}: h2load says\n${text}${errors}`);
  }
  return { callsPerSecond, dataBytes };
}
