import { connect } from "../../src/client/client.ts";
import { Failure } from "../../src/failure.ts";
import { type Question, startAssistant } from "../chat/test-assistant.ts";
import { seeded } from "./random.ts";

// An assistant in a process of its own: answers each question in parts, with pauses in which anything may be killed.
// Words: the server's socket, a seed.

const [socketPath = "", seed = ""] = process.argv.slice(2);
const random = seeded(Number(seed));
const client = connect({ address: `unix://${socketPath}`, reconnectIntervalMs: 50, dialTimeoutMs: 60_000 });

for (;;) {
  try {
    await using assistant = await startAssistant(client);
    process.send?.("ready");
    for (;;) void answer(await assistant.question());
  } catch (error) {
    // The server was killed: what it asked is asked again.
    if (!(error instanceof Failure) && !String(error).includes("line has ended")) throw error;
    await Bun.sleep(20);
  }
}

async function answer(question: Question): Promise<void> {
  const words = `re ${question.text}`;
  if (random.next() < 0.3) return question.answer(words);
  for (const word of words.split(/(?<= )/)) {
    question.part(word);
    await Bun.sleep(random.between(0, 15));
  }
  question.end();
}
