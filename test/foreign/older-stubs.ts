import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { programs, succeed } from "./programs.ts";

/**
 * Writes what protoc makes of the API as it was, for Python: packages and imports without `proto`, and nothing with a
 * number from 100 up.
 */
export async function generateOlderStubs(into: string): Promise<void> {
  const root = join(import.meta.dir, "../..");
  const sources = join(into, "sources");
  const paths = ["common/v1/common.proto", "orchestrator/v1/orchestrator.proto", "agent/v1/agent.proto"];
  for (const path of paths) {
    const older = readFileSync(join(root, "proto", path), "utf8")
      .replace(/^package proto\./m, "package ")
      .replace(/^import "proto\//gm, 'import "')
      .replaceAll("proto.common.v1.", "common.v1.")
      .replace(/^ +[\w.<>, ]+ = 1\d\d( \[.*\])?;\n/gm, "")
      // What has lost all of its fields.
      .replace(/^ +oneof \w+ \{\n( *\/\/.*\n)* *\}\n/gm, "");
    mkdirSync(dirname(join(sources, path)), { recursive: true });
    writeFileSync(join(sources, path), older);
  }
  const out = [`--python_out=${into}`, `--grpc_python_out=${into}`];
  await succeed([programs.python, "-m", "grpc_tools.protoc", `-I${sources}`, ...out, ...paths], {
    cwd: into,
  });
  if (!readdirSync(into).includes("orchestrator")) throw new Error("protoc has written no stubs");
}
