import { expect, test } from "bun:test";
import { readConversation } from "../../src/assistant/conversation.ts";
import { callMessage, resultMessage } from "../../src/assistant/tool-messages.ts";
import { connect } from "../../src/client/client.ts";
import { MessageRole } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { FakeConversations } from "./fake-conversations.ts";

type Stored = FakeConversations["messages"][number];

const asked = (id: string): Stored => ({ id, role: MessageRole.USER, content: `question ${id}` });
const answered = (id: string): Stored => ({
  id: `answer-${id}`,
  role: MessageRole.ASSISTANT,
  content: `answer ${id}`,
  metadata: { extra: { reply_to: id } },
});

/** What a model is told before the question `messageId`, in short. */
async function readBefore(
  messageId: string,
  messages: readonly Stored[],
  maxTokens = 10_000,
): Promise<readonly string[]> {
  await using server = await FakeConversations.start();
  await using client = connect({ address: `unix://${server.path}` });
  server.messages.push(...messages);
  const signal = new AbortController().signal;
  const { said } = await readConversation(client, { sessionId: "s1", messageId, maxTokens, signal });
  return said.map((one) => {
    if (one.by === "tools") return `results ${one.results.map(({ text }) => text).join()}`;
    return one.by === "user" || one.calls.length === 0 ? one.text : `calls ${one.calls[0]?.name}`;
  });
}

test("readConversation() puts answers behind their questions, which may have waited", async () => {
  const stored = [asked("1"), asked("2"), asked("3"), answered("1"), answered("2")];
  expect(await readBefore("3", stored)).toEqual(["question 1", "answer 1", "question 2", "answer 2"]);
});

test("readConversation() puts what tools did behind the question that it was done for", async () => {
  const call = { id: "call-0", name: "fly", input: {} };
  const outcome = { text: "flown", isFailure: false, containerId: "" };
  const done = (question: string): readonly Stored[] => [
    callMessage(call, { messageId: question, answerBytes: 0 }),
    resultMessage(call, outcome, { messageId: question, answerBytes: 0 }),
  ];
  const stored = [
    asked("1"),
    asked("2"),
    asked("3"),
    ...done("1"),
    answered("1"),
    ...done("2"),
    answered("2"),
  ];
  const turn = (id: string) => [`question ${id}`, "calls fly", "results flown", `answer ${id}`];
  expect(await readBefore("3", stored)).toEqual([...turn("1"), ...turn("2")]);
});

test("readConversation() begins with the answer whose question has no room", async () => {
  const long: Stored = { ...asked("1"), content: "long ".repeat(1_000) };
  const stored = [long, asked("2"), answered("1"), answered("2"), asked("3")];
  expect(await readBefore("3", stored, 100)).toEqual(["answer 1", "question 2", "answer 2"]);
});

test("readConversation() leaves where it is what answers no question", async () => {
  const hello: Stored = { id: "h", role: MessageRole.ASSISTANT, content: "hello" };
  const stored = [hello, asked("1"), answered("1"), answered("elsewhere"), asked("2")];
  expect(await readBefore("2", stored)).toEqual(["hello", "question 1", "answer 1", "answer elsewhere"]);
});
