import { parseArgs } from "node:util";
import { runCrash } from "../test/crash/crash-run.ts";
import { tableOf } from "../test/crash/figures.ts";
import { engine } from "../test/engine.ts";
import { toStdout as say } from "./progress.ts";

// `bun run crash --rounds 100 --seed 7`: kills a loaded server that often, and ends with 1 if anything acknowledged is
// lost, torn or untrue.

const { values } = parseArgs({ options: { rounds: { type: "string" }, seed: { type: "string" } } });
const rounds = wholeNumber("rounds", values.rounds ?? "25");
const seed = wholeNumber("seed", values.seed ?? String(Math.floor(Math.random() * 2 ** 32)));
say(`Seed ${seed}`);
const { dockerHost, image } = await engine();
const figures = await runCrash({ rounds, seed, dockerHost, image, progress: say });
say(`\n${tableOf(figures)}`);
process.exit(figures.violations.length === 0 ? 0 : 1);

function wholeNumber(name: string, text: string): number {
  if (/^\d{1,10}$/.test(text)) return Number(text);
  say(`Cannot read --${name} "${text}": it has to be a whole number`);
  process.exit(2);
}
