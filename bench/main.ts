import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { buildExecutable, readStamp } from "../build.ts";
import { bringUpEngine, type Engine } from "../scripts/engine.ts";
import { duration, toStderr, toStdout } from "../scripts/progress.ts";
import { SetUpError } from "../scripts/set-up-error.ts";
import { againstDocker } from "./against-docker.ts";
import { chat } from "./chat.ts";
import { copy } from "./copy.ts";
import { events } from "./events.ts";
import { exec } from "./exec.ts";
import { type Bench, type Figure, isMet, type Row } from "./figure.ts";
import { firstOutput } from "./first-output.ts";
import { getSession } from "./get-session.ts";
import { lostWorker } from "./lost-worker.ts";
import { machineText, readMachine } from "./machine.ts";
import { manyContainers } from "./many-containers.ts";
import { manyTasks } from "./many-tasks.ts";
import { plot } from "./plot.ts";
import { restart } from "./restart.ts";
import { sendMessage } from "./send-message.ts";
import { startUp } from "./start-up.ts";
import { markdownTable, textTable } from "./table.ts";
import { taskOutput } from "./task-output.ts";
import { taskRate } from "./task-rate.ts";
import { taskRoundTrip } from "./task-round-trip.ts";
import { warmExec } from "./warm-exec.ts";
import { warmStart } from "./warm-start.ts";

// `bun run bench`: measures everything that the product promises in numbers, the bare thing beside each, and prints a
// table. Ends with 0 when it could measure, whatever the numbers are.

const root = resolve(import.meta.dir, "..");
const figures: readonly Figure[] = [
  ...[getSession, sendMessage, events, restart, startUp],
  ...[firstOutput, exec, copy, warmStart, warmExec, againstDocker, manyContainers, chat],
  ...[taskRoundTrip, taskRate, manyTasks, lostWorker, taskOutput],
];

const usage = `Usage: bun run bench [--quick] [--only <figure>,…] [--json <file>] [--svg <file>] [--markdown <file>]

Figures: ${figures.map(({ name }) => name).join(", ")}
`;

async function main(words: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...words],
    options: {
      quick: { type: "boolean", default: false },
      only: { type: "string" },
      json: { type: "string", default: join(root, "dist", "bench.json") },
      svg: { type: "string", default: join(root, "dist", "bench.svg") },
      markdown: { type: "string", default: join(root, "dist", "bench.md") },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    toStdout(usage);
    return 0;
  }
  const chosen = choose(values.only);
  const machine = readMachine();
  const stamp = readStamp(root);
  const startedAt = new Date().toISOString();
  toStderr(machineText(machine));
  await using stack = new AsyncDisposableStack();
  const bench = makeBench(stack, values.quick ? "quick" : "full");
  await buildExecutable({ entrypoint: join(root, "src/main.ts"), outfile: bench.program });
  const rows: Row[] = [];
  for (const figure of chosen) {
    const begin = performance.now();
    toStderr(`${figure.name}`);
    const measured = await figure.measure(bench);
    toStderr(`${textTable(measured)}\n  took ${duration(performance.now() - begin)}`);
    rows.push(...measured);
  }
  toStdout(textTable(rows));
  const title = `baaaht ${stamp.version}, commit ${stamp.commit.slice(0, 12)}: how many times each target is reached`;
  const judged = rows.map((row) => ({ ...row, met: isMet(row) ?? null }));
  const report = { startedAt, length: bench.length, stamp, machine, rows: judged };
  await Bun.write(values.json, `${JSON.stringify(report, null, 2)}\n`);
  await Bun.write(values.svg, plot(rows, title));
  await Bun.write(values.markdown, `${machineText(machine)}\n\n${markdownTable(rows)}\n`);
  toStdout(`\n${values.json}\n${values.svg}\n${values.markdown}`);
  return 0;
}

function choose(only: string | undefined): readonly Figure[] {
  if (only === undefined) return figures;
  return only.split(",").map((name) => {
    const figure = figures.find((candidate) => candidate.name === name);
    if (figure === undefined)
      throw new SetUpError(`Cannot measure "${name}": there is no such figure\n${usage}`);
    return figure;
  });
}

function makeBench(stack: AsyncDisposableStack, length: Bench["length"]): Bench {
  const folder = mkdtempSync(join(tmpdir(), "baaaht-bench-"));
  stack.defer(() => rmSync(folder, { recursive: true, force: true }));
  let engine: Promise<Engine> | undefined;
  return {
    program: join(root, "dist", "baaaht"),
    folder,
    length,
    progress: toStderr,
    engine: () => {
      engine ??= bringUpEngine({ progress: toStderr, afterUse: "stop" }).then((up) => stack.use(up));
      return engine;
    },
  };
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof SetUpError)) throw error;
  toStderr(error.message);
  process.exitCode = 1;
}
