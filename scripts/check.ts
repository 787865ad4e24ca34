import { availableParallelism } from "node:os";
import { ensureCompiler } from "./c-compiler.ts";
import {
  type CheckContext,
  type CheckFailure,
  type CheckOutcome,
  type CheckStep,
  failed,
} from "./check-step.ts";
import { STEPS } from "./check-steps.ts";
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
    for (const batch of batches(STEPS)) {
      signal.throwIfAborted();
      outcomes.push(...(await runBatch(batch, context)));
    }
  } catch (error) {
    if (!(error instanceof SetUpError)) throw error;
    outcomes.push(failed("setting up", error.message));
  }
  return {
    passed: outcomes.reduce((sum, { passed }) => sum + passed, 0),
    failures: outcomes.flatMap<CheckFailure>(({ failures }) => failures),
  };
}

/** Neighbours that may run together, together; each other step by itself. */
function batches(steps: readonly CheckStep[]): CheckStep[][] {
  const result: CheckStep[][] = [];
  for (const step of steps) {
    const last = result.at(-1);
    if (step.runs === "together" && last?.[0]?.runs === "together") last.push(step);
    else result.push([step]);
  }
  return result;
}

/** Runs the steps of a batch, as many at a time as there are processors. */
async function runBatch(batch: readonly CheckStep[], context: CheckContext): Promise<CheckOutcome[]> {
  const waiting = [...batch];
  const outcomes: CheckOutcome[] = [];
  const worker = async (): Promise<void> => {
    for (let step = waiting.shift(); step !== undefined; step = waiting.shift()) {
      outcomes.push(await runStep(step, context));
    }
  };
  await Promise.all(Array.from({ length: Math.min(availableParallelism(), batch.length) }, worker));
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
