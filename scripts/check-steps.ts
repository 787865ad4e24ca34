import { availableParallelism } from "node:os";
import { join } from "node:path";
import { Glob } from "bun";
import { bunScript, type CheckStage, type CheckStep, commandStep, ROOT, tool } from "./check-step.ts";
import { goStep, grpcurlStep, podmanStep, pythonStep, shellsStep } from "./foreign-tools.ts";
import { testStep } from "./test-group.ts";

/** Folders of test/ that get a step of their own, in one process: nothing else of theirs may run beside what they kill. */
const OWN_STEP = ["crash", "faults", "foreign"] as const;

/** What `check` does once everything is set up, a stage after the other. To add a check, add it here. */
export const STAGES: readonly CheckStage[] = [
  {
    // What waits for downloads comes first, and leaves a processor to the others.
    atOnce: availableParallelism() + 1,
    steps: [
      pythonStep("Python for its example"),
      podmanStep("Podman for its tests"),
      shellsStep("shells for completion"),
      goStep("Go for its example"),
      grpcurlStep("grpcurl"),
      buildStep("build"),
      commandStep("types", tool("tsc", "--noEmit", "--pretty", "false")),
      commandStep("format and lint", tool("biome", "ci", "--colors=off", ".")),
      commandStep("unused code and dependencies", tool("knip", "--no-progress")),
      commandStep("the API's style", tool("buf", "lint")),
      commandStep("the API breaks nobody", tool("buf", "breaking", "--against", "proto/baseline.binpb")),
      commandStep("generated code is current", bunScript("scripts/generate.ts", "--check")),
    ],
  },
  {
    atOnce: availableParallelism(),
    steps: [
      testStep({
        name: "tests",
        processes: availableParallelism() + 1, // now and then a test waits for an engine
        files: () => testFiles((folder) => !OWN_STEP.some((own) => own === folder)),
      }),
      // Much of their time they wait for what they kill to come back.
      ...OWN_STEP.map((own) =>
        testStep({ name: `${own} tests`, processes: 1, files: () => testFiles((folder) => folder === own) }),
      ),
    ],
  },
];

/** Builds the executable, and gives its path to the tests as TEST_PROGRAM. */
function buildStep(name: string): CheckStep {
  const build = commandStep(name, bunScript("build.ts"));
  return {
    ...build,
    run: async (context) => {
      const outcome = await build.run(context);
      if (outcome.failures.length === 0) context.env.TEST_PROGRAM = join(ROOT, "dist", "baaaht");
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
