import type { AssistantNews, TurnName } from "../assistant/assistant.ts";
import { Failure } from "../failure.ts";
import { version } from "../version.ts";
import { clientCommand } from "./client-command.ts";
import { type Group, group } from "./command.ts";
import { EXIT_CODES } from "./exit-codes.ts";
import { toggle } from "./flag.ts";
import { serverFlagsGiven, settingFlags } from "./server-flags.ts";
import type { Server } from "./shell.ts";
import { stopTwice } from "./stop-twice.ts";

export async function assistantGroup(server: Server): Promise<Group> {
  const declared = settingFlags(await server.assistant.settings());
  const run = clientCommand({
    name: "run",
    summary: "answer conversations until told to stop",
    description: `Registers as the agent "assistant", and answers each question of a user: by a language model behind a server that
speaks the OpenAI protocol, or with --provider echo by the question's own words. The model may run commands in a
container of the session.

Flags win over the environment (BAAAHT_ASSISTANT_MODEL), that over the configuration file ([assistant]), and that over
the defaults. The key stands in a file (--key-file) or in BAAAHT_ASSISTANT_KEY.

SIGTERM or Ctrl-C takes no more questions, and ends when those at work are answered or --drain-timeout is over; a second
one ends at once. "baaaht serve --assistant" runs one beside the server.`,
    words: {},
    flags: {
      ...declared,
      untilEof: toggle({
        about: "also stop when stdin ends, as it does when the program is gone that started this",
      }),
    },
    examples: [
      { about: "without a model", line: "baaaht assistant run --provider echo" },
      {
        about: "with a model on this machine",
        line: "baaaht assistant run --base-url http://127.0.0.1:11434/v1 --model qwen3",
      },
      {
        about: "with one that wants a key",
        line: "baaaht assistant run --base-url https://models.example.org/v1 --model large --key-file ~/.model-key",
      },
    ],
    run: async ({ client, flags, shell }) => {
      const config = await shell.server.assistant.configuration(serverFlagsGiven(flags, declared));
      const [{ runAssistant }, { chooseProvider }] = await Promise.all([
        import("../assistant/assistant.ts"),
        import("../assistant/provider-choice.ts"),
      ]);
      const provider = await chooseProvider(config);
      using stop = stopTwice(shell, flags);
      await shell.err.write(`baaaht ${version} answers by ${provider.about}\n`);
      const onNews = (news: AssistantNews): void => {
        const words = newsWords(news, flags.verbose);
        if (words !== undefined) void shell.err.write(`${words}\n`).catch(() => undefined);
      };
      await runAssistant({ client, provider, config, onNews, signal: stop.signal, hurry: stop.hurry });
      return EXIT_CODES.ok;
    },
  });
  return group({ name: "assistant", summary: "answer conversations", commands: [run] });
}

/** What a person may want to know; undefined for what is of interest only when they look for it. */
function newsWords(news: AssistantNews, verbose: boolean): string | undefined {
  switch (news.what) {
    case "ready":
      return `ready as agent ${news.agentId}`;
    case "interrupted":
      return `connecting again in ${news.againInMs} ms: ${news.why}`;
    case "draining":
      return `stopping when ${news.turns} answers are given`;
    case "cut":
      return `${turnWords(news.turn)}: the ${news.leftOut} oldest messages had no room`;
    case "failed":
      return `${turnWords(news.turn)} has no answer: ${errorWords(news.error)}`;
    case "given_up":
      return verbose ? `${turnWords(news.turn)} was given up: ${news.why}` : undefined;
    case "answered":
      return verbose
        ? `${turnWords(news.turn)} has its answer: ${news.bytes} bytes in ${Math.round(news.ms)} ms`
        : undefined;
  }
}

function turnWords({ sessionId, messageId }: TurnName): string {
  return `session ${sessionId}: message ${messageId}`;
}

function errorWords(error: unknown): string {
  const failure = Failure.from(error);
  if (failure !== undefined) return failure.message;
  return `a defect: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
}
