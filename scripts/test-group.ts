import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { type CheckFailure, type CheckOutcome, type CheckStep, ROOT } from "./check-step.ts";
import { parseJunit } from "./junit-report.ts";
import { type CommandResult, runCommand } from "./run-command.ts";
import { testCost } from "./test-cost.ts";

/** What one test may take that sets no time-out of its own: the machine may be a slow one. */
const TEST_TIMEOUT_MS = 60_000;
const REPORTS = join(ROOT, ".cache", "reports");

export interface TestGroup {
  readonly name: string;
  /** Processes that the files are shared out to. */
  readonly processes: number;
  /** Where `bun test` runs; the repository's root unless it is said. */
  readonly folder?: string;
  /** Paths from that folder. */
  files(): readonly string[];
}

/** A step that runs test files in a `bun test` of its own and counts their tests from its report. */
export function testStep(group: TestGroup): CheckStep {
  return {
    name: group.name,
    run: async ({ env, signal, progress }) => {
      const files = group.files();
      const folder = group.folder ?? ROOT;
      if (files.length === 0)
        return { passed: 0, failures: [{ name: group.name, detail: "there are no test files" }] };
      mkdirSync(REPORTS, { recursive: true });
      const paths = files.map((file) => resolve(folder, file));
      const report = join(REPORTS, `${group.name.replace(/\W+/g, "-")}.xml`);
      rmSync(report, { force: true });
      const command = [
        ...[process.execPath, "test", `--timeout=${TEST_TIMEOUT_MS}`],
        ...["--reporter=junit", `--reporter-outfile=${report}`],
        ...(group.processes > 1
          ? shared(paths, { processes: group.processes, timings: `${report}.order` })
          : []),
        ...paths,
      ];
      // Not CI: there, bun adds a second copy of each failure in the form that GitHub's log wants.
      const done = await runCommand(command, {
        cwd: ROOT,
        env: { ...env, GITHUB_ACTIONS: undefined },
        signal,
      });
      const outcome = testOutcome(
        { folder, files },
        existsSync(report) ? readFileSync(report, "utf8") : "",
        done,
      );
      if (outcome.failures.length > 0) await Bun.write(`${report}.log`, done.output);
      if (outcome.failures.length > 0) progress(`        all that the tests printed: ${report}.log`);
      return outcome;
    },
  };
}

/** The options that let processes take the files one by one, those first that take longest. */
function shared(
  paths: readonly string[],
  { processes, timings }: { readonly processes: number; readonly timings: string },
): string[] {
  const files = paths.map((path) => [relative(ROOT, path), testCost(readFileSync(path, "utf8"))] as const);
  writeFileSync(timings, JSON.stringify({ version: 1, files: Object.fromEntries(files) }));
  return [`--parallel=${processes}`, `--timings=${timings}`];
}

interface TestRun {
  readonly folder: string;
  readonly files: readonly string[];
}

/**
 * Counts a test run. Only what the report says has passed is passed: a file that is not in the report (it could not be
 * loaded, or ended the process) is a failure, so is a skipped test, and so is a bad end without a failed test.
 */
function testOutcome(run: TestRun, xml: string, done: CommandResult): CheckOutcome {
  const results = parseJunit(xml);
  const failures: CheckFailure[] = results
    .filter((result) => result.outcome !== "passed")
    .map((result) => ({
      name: `${result.file}: ${result.name}`,
      detail: result.outcome === "skipped" ? "skipped; every test has to run" : result.detail,
    }));
  const reported = new Set(results.map((result) => resolve(run.folder, result.file)));
  const silent = run.files.filter((file) => !reported.has(resolve(run.folder, file)));
  const end = tail(done.output);
  for (const file of silent)
    failures.push({ name: file, detail: `it is not in the report; the run ended so:\n${end}` });
  if (done.exitCode !== 0 && failures.length === 0) {
    failures.push({ name: run.files.join(" "), detail: `bun test ended with ${done.exitCode}:\n${end}` });
  }
  return { passed: results.filter((result) => result.outcome === "passed").length, failures };
}

function tail(output: string): string {
  return output.trimEnd().split("\n").slice(-25).join("\n");
}
