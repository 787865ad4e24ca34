import { parseArgs } from "node:util";
import { chatTableOf, runChatCrash } from "../test/crash/chat-run.ts";
import { runCrash } from "../test/crash/crash-run.ts";
import { tableOf } from "../test/crash/figures.ts";
import { engine } from "../test/engine.ts";
import { toStdout as say } from "./progress.ts";

// `bun run crash --rounds 100 --seed 7`: kills a loaded server that often, and ends with 1 if anything acknowledged is
// lost, torn or untrue.

// With `--chat` server, assistant and callers are killed in the middle of chat, and every turn is checked.

const { values } = parseArgs({
  options: { rounds: { type: "string" }, seed: { type: "string" }, chat: { type: "boolean" } },
});
const rounds = wholeNumber("rounds", values.rounds ?? "25");
const seed = wholeNumber("seed", values.seed ?? String(Math.floor(Math.random() * 2 ** 32)));
say(`Seed ${seed}`);
if (values.chat) {
  const chat = await runChatCrash({ rounds, seed, progress: say });
  say(`\n${chatTableOf(chat)}`);
  process.exit(chat.violations.length === 0 ? 0 : 1);
}
const { dockerHost, image } = await engine();
const figures = await runCrash({ rounds, seed, dockerHost, image, progress: say });
say(`\n${tableOf(figures)}`);
process.exit(figures.violations.length === 0 ? 0 : 1);

function wholeNumber(name: string, text: string): number {
  if (/^\d{1,10}$/.test(text)) return Number(text);
  say(`Cannot read --${name} "${text}": it has to be a whole number`);
  process.exit(2);
}
