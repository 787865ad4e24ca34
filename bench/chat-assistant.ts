import { connect } from "../src/client/client.ts";
import { startAssistant } from "../test/chat/test-assistant.ts";

// The assistant of the chat's figures. Words: the server's socket. Answers a question with its own text in two parts, and
// one of `stream COUNT EVERY_MS` with that many tokens, each of which is the time at which it was sent.

const [socketPath = ""] = process.argv.slice(2);
const client = connect({ address: `unix://${socketPath}` });
const assistant = await startAssistant(client);
process.stdout.write("ready\n");
for (;;) {
  const question = await assistant.question();
  const [word, count, everyMs] = question.text.split(" ");
  if (word === "stream") {
    void stream(question, Number(count), Number(everyMs));
  } else {
    question.part(question.text);
    question.end();
  }
}

async function stream(
  question: Awaited<ReturnType<typeof assistant.question>>,
  count: number,
  everyMs: number,
): Promise<void> {
  const begin = performance.now();
  for (let token = 0; token < count; token += 1) {
    await Bun.sleep(Math.max(0, begin + token * everyMs - performance.now()));
    question.part(`${performance.timeOrigin + performance.now()} `);
  }
  question.end();
}
