import { ensureCompiler } from "./c-compiler.ts";
import {
  type CheckContext,
  type CheckFailure,
  type CheckOutcome,
  type CheckStage,
  type CheckStep,
  failed,
} from "./check-step.ts";
import { STAGES } from "./check-steps.ts";
import { installDependencies } from "./dependencies.ts";
import { bringUpEngine } from "./engine.ts";
import { ensureImage } from "./image.ts";
import { duration, toStdout as say } from "./progress.ts";
import { SetUpError } from "./set-up-error.ts";

// Runs every check of the project on a machine that may have nothing yet. Imports Bun's own modules alone, because the
// dependencies are installed by it. The last line is always `N passed, N failed`.

const interrupted = new AbortController();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.once(signal, () => interrupted.abort(new SetUpError(`Stopped by ${signal}`)));
}

const startedAt = performance.now();
const outcome = await checkAll(interrupted.signal);
for (const failure of outcome.failures) say(`\nFAILED ${failure.name}\n${indented(failure.detail)}`);
say(`\nTook ${duration(performance.now() - startedAt)}`);
say(`${outcome.passed} passed, ${outcome.failures.length} failed`);
process.exit(outcome.failures.length === 0 ? 0 : 1);

async function checkAll(signal: AbortSignal): Promise<CheckOutcome> {
  const env: Record<string, string> = { NO_COLOR: "1", FORCE_COLOR: "0" };
  const context: CheckContext = { progress: say, env, signal };
  const outcomes: CheckOutcome[] = [];
  try {
    say("Setting up");
    await timed("dependencies", installDependencies);
    await using engine = await bringUpEngine({ progress: say, afterUse: "stop" });
    say(`  Docker ${engine.description} at ${engine.dockerHost}`);
    env.DOCKER_HOST = engine.dockerHost;
    await timed("test image", () => ensureImage(engine.dockerHost, "busybox", say));
    await ensureCompiler(say);
    say("Checking");
    for (const stage of STAGES) outcomes.push(...(await runStage(stage, context)));
  } catch (error) {
    if (!(error instanceof SetUpError)) throw error;
    outcomes.push(failed("setting up", error.message));
  }
  return {
    passed: outcomes.reduce((sum, { passed }) => sum + passed, 0),
    failures: outcomes.flatMap<CheckFailure>(({ failures }) => failures),
  };
}

async function runStage({ atOnce, steps }: CheckStage, context: CheckContext): Promise<CheckOutcome[]> {
  const waiting = [...steps];
  const outcomes: CheckOutcome[] = [];
  const lane = async (): Promise<void> => {
    for (let step = waiting.shift(); step !== undefined; step = waiting.shift()) {
      context.signal.throwIfAborted();
      outcomes.push(await runStep(step, context));
    }
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
  return outcomes;
}

async function runStep(step: CheckStep, context: CheckContext): Promise<CheckOutcome> {
  const begin = performance.now();
  const outcome = await step.run(context).catch((error: unknown) => failed(step.name, defect(error)));
  const counts = outcome.passed + outcome.failures.length > 1 ? `  ${outcome.passed} passed` : "";
  const bad = outcome.failures.length > 1 ? `, ${outcome.failures.length} failed` : "";
  const mark = outcome.failures.length === 0 ? "ok    " : "FAILED";
  say(`  ${mark} ${step.name.padEnd(30)} ${duration(performance.now() - begin).padStart(8)}${counts}${bad}`);
  return outcome;
}

async function timed(name: string, work: () => Promise<unknown>): Promise<void> {
  const begin = performance.now();
  await work();
  say(`  ${name} (${duration(performance.now() - begin)})`);
}

function defect(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

function indented(text: string): string {
  const lines = text.split("\n");
  const shown = lines.length > 80 ? [...lines.slice(0, 80), `… and ${lines.length - 80} lines more`] : lines;
  return shown.map((line) => `  ${line}`).join("\n");
}
