import { copyFile, mkdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { buildExecutable } from "../../build.ts";
import { HealthCheckResponse_ServingStatus } from "../../src/gen/grpc/health/v1/health_pb.ts";
import { engine } from "../engine.ts";
import { type ServerOptions, startServer, type TestServer } from "../server.ts";

const root = join(import.meta.dir, "../..");

export interface CompiledServer extends TestServer {
  /** An image with a shell. */
  readonly image: string;
}

/** A server from the compiled executable, alone in its folder, on the real engine. */
export async function startCompiledServer(
  options: Pick<ServerOptions, "dataDir" | "socketPath"> = {},
): Promise<CompiledServer> {
  const [{ dockerHost, image }, executable] = await Promise.all([engine(), compiled()]);
  const server = await startServer({ ...options, dockerHost, program: [executable] });
  await containersServing(server);
  return { ...server, image };
}

let building: Promise<string> | undefined;

/** Built once for all files of this process. */
function compiled(): Promise<string> {
  building ??= build();
  return building;
}

async function build(): Promise<string> {
  const outfile = join(root, ".cache/foreign/baaaht");
  const built = process.env.TEST_PROGRAM;
  if (built === undefined) await buildExecutable({ entrypoint: join(root, "src/main.ts"), outfile });
  else {
    await mkdir(dirname(outfile), { recursive: true });
    await rm(outfile, { force: true }); // a server of an earlier run may run from it
    await copyFile(built, outfile);
  }
  return outfile;
}

/** A container asked for before the engine was found is made all the same, but is shown as unknown. */
async function containersServing({ client }: TestServer): Promise<void> {
  for await (const { status } of client.health.watch({ service: "proto.orchestrator.v1.containers" })) {
    if (status === HealthCheckResponse_ServingStatus.SERVING) return;
  }
  throw new Error("the health of containers ended without SERVING");
}
