import { parseArgs } from "node:util";
import { runFaults, scenarioNames } from "../test/faults/fault-run.ts";
import { faultTable } from "../test/faults/fault-table.ts";
import { toStdout as say } from "./progress.ts";

// `bun run faults --rounds 3 --only "engine killed" --program dist/baaaht`: does to servers and to an engine of their own
// what can go wrong, and ends with 1 if anything was shown or told that is not so. Without root on Linux, what happens to the
// engine itself is left out.

const { values } = parseArgs({
  options: {
    rounds: { type: "string" },
    only: { type: "string" },
    seed: { type: "string" },
    program: { type: "string" },
    short: { type: "boolean" },
    list: { type: "boolean" },
  },
});
if (values.list === true) {
  for (const name of scenarioNames()) say(name);
  process.exit(0);
}
const rounds = wholeNumber("rounds", values.rounds ?? "1");
const seed = wholeNumber("seed", values.seed ?? String(Math.floor(Math.random() * 2 ** 32)));
const { only = "", program } = values;
const reports = await runFaults({
  rounds,
  patience: values.short === true ? "short" : "long",
  only,
  seed,
  program: program === undefined ? undefined : [program],
  progress: say,
});
const again = `bun run faults --rounds ${rounds} --seed ${seed}${only === "" ? "" : ` --only "${only}"`}`;
say(`\n${faultTable(reports, again)}`);
process.exit(reports.every(({ violations }) => violations.length === 0) ? 0 : 1);

function wholeNumber(name: string, text: string): number {
  if (/^\d{1,10}$/.test(text)) return Number(text);
  say(`Cannot read --${name} "${text}": it has to be a whole number`);
  process.exit(2);
}
