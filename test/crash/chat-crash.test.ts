import { expect, test } from "bun:test";
import { chatTableOf, runChatCrash } from "./chat-run.ts";

test("25 kills of server, assistant and callers lose no message, answer no question twice, and leave no turn open", async () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  const figures = await runChatCrash({ rounds: 25, seed });
  expect(figures.violations, chatTableOf(figures)).toEqual([]);
  expect(figures.answered).toBeGreaterThan(0);
}, 1_200_000); // a minute of a processor, which may be shared with many
