import { availableParallelism } from "node:os";
import { join } from "node:path";
import { Glob } from "bun";
import { bunScript, type CheckStep, commandStep, ROOT, tool } from "./check-step.ts";
import { goStep, grpcurlStep, podmanStep, pythonStep, shellsStep } from "./foreign-tools.ts";
import { testStep } from "./test-group.ts";

/** Folders of test/ that get a process of their own: they take long, or nothing may disturb them. */
const OWN_PROCESS = ["crash", "faults", "foreign"];

/** What `check` does once everything is set up, in this order. To add a check, add it here. */
export const STEPS: readonly CheckStep[] = [
  commandStep("format and lint", "together", tool("biome", "ci", "--colors=off", ".")),
  commandStep("types", "together", tool("tsc", "--noEmit", "--pretty", "false")),
  commandStep("unused code and dependencies", "together", tool("knip", "--no-progress")),
  commandStep("the API's style", "together", tool("buf", "lint")),
  commandStep(
    "the API breaks nobody",
    "together",
    tool("buf", "breaking", "--against", "proto/baseline.binpb"),
  ),
  commandStep("generated code is current", "together", bunScript("scripts/generate.ts", "--check")),
  buildStep("build"),
  podmanStep("Podman for its tests"),
  shellsStep("shells for completion"),
  testStep({
    name: "tests",
    processes: availableParallelism() + 1, // much of the time a test waits for an engine
    files: () => testFiles((folder) => !OWN_PROCESS.includes(folder)),
  }),
  testStep({ name: "crash tests", processes: 1, files: () => testFiles((folder) => folder === "crash") }),
  testStep({ name: "fault tests", processes: 1, files: () => testFiles((folder) => folder === "faults") }),
  goStep("Go for its example"),
  pythonStep("Python for its example"),
  grpcurlStep("grpcurl"),
  testStep({
    name: "foreign clients",
    processes: 1,
    files: () => testFiles((folder) => folder === "foreign"),
  }),
];

/** Builds the executable, and gives its path to the tests as BAAAHT_TEST_PROGRAM. */
function buildStep(name: string): CheckStep {
  const build = commandStep(name, "alone", bunScript("build.ts"));
  return {
    ...build,
    run: async (context) => {
      const outcome = await build.run(context);
      if (outcome.failures.length === 0) context.env.BAAAHT_TEST_PROGRAM = join(ROOT, "dist", "baaaht");
      return outcome;
    },
  };
}

/** Test files by the first folder below test/; "" for a file that is in none. */
function testFiles(wanted: (folder: string) => boolean): string[] {
  return [...new Glob("test/**/*.test.ts").scanSync({ cwd: ROOT })]
    .filter((path) => wanted(path.split("/").length > 2 ? (path.split("/")[1] ?? "") : ""))
    .sort();
}
