import { mkdtemp, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runCommand } from "./run-command.ts";

const usage = `Usage: bun scripts/generate.ts [--check | --baseline]

  (nothing)   writes src/gen from proto/ and third_party/proto/
  --check     writes nothing; fails with a diff when src/gen is not what proto/ says
  --baseline  makes the API of now the one that later changes may not break (proto/baseline.binpb);
              fails when it breaks the baseline that is there
`;

const buf = "node_modules/.bin/buf";
const baseline = "proto/baseline.binpb";
const repository = join(import.meta.dir, "..");

/** A step that ended otherwise than it should; its output says why and goes to the reader as it is. */
class StepFailed extends Error {}

const [option, ...rest] = process.argv.slice(2);
const task = rest.length > 0 ? undefined : taskFor(option);
if (task === undefined) {
  process.stderr.write(usage);
  process.exit(2);
}
try {
  await task();
} catch (error) {
  if (!(error instanceof StepFailed)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
}

function taskFor(option: string | undefined): (() => Promise<void>) | undefined {
  switch (option) {
    case undefined:
      return generate;
    case "--check":
      return checkDrift;
    case "--baseline":
      return moveBaseline;
    default:
      return undefined;
  }
}

async function generate(): Promise<void> {
  await step([buf, "generate"], "Cannot generate src/gen");
}

async function checkDrift(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "baaaht-generate-"));
  try {
    await step([buf, "generate", "--output", folder], "Cannot generate src/gen");
    await step(
      ["diff", "-ruN", "src/gen", join(folder, "src/gen")],
      "Cannot accept src/gen: it is not what proto/ says (run `bun run generate`)",
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function moveBaseline(): Promise<void> {
  if (await Bun.file(join(repository, baseline)).exists()) {
    await step([buf, "breaking", "--against", baseline], "Cannot move the baseline: proto/ breaks it");
  }
  // Built beside it and renamed, so that a build that fails leaves the old one in place. No comments and no
  // positions inside: a change of words alone leaves the file as it is.
  const next = `${baseline}.next.binpb`;
  try {
    await step([buf, "build", "--exclude-source-info", "--output", next], "Cannot build the baseline");
    await rename(join(repository, next), join(repository, baseline));
  } finally {
    await rm(join(repository, next), { force: true });
  }
}

async function step(command: readonly string[], failure: string): Promise<void> {
  const { exitCode, output } = await runCommand(command, { cwd: repository });
  if (exitCode !== 0) throw new StepFailed(`${failure}:\n${output.trimEnd()}`);
}
