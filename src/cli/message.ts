import { Failure } from "../failure.ts";
import {
  ListMessagesResponseSchema,
  type Message,
  MessageRoleSchema,
  MessageSchema,
  SendMessageResponseSchema,
} from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { awaitAnswer } from "./awaited-answer.ts";
import { cell, printable } from "./cell.ts";
import { clientCommand } from "./client-command.ts";
import { group, manyWords, word } from "./command.ts";
import { EXIT_CODES } from "./exit-codes.ts";
import { findSessionId } from "./find-id.ts";
import { choice, int, pairs, problem, text, toggle, withDefault } from "./flag.ts";
import { readPages } from "./pages.ts";
import { jsonOf } from "./proto-json.ts";
import type { Shell } from "./shell.ts";
import type { Column } from "./table.ts";
import { enumNumber, enumWord, enumWords, type TimeStyle, timeCell } from "./words.ts";

const session = word({
  about: "the session: its id, the beginning of it, or its name",
  completes: "session",
});
const ROLES = enumWords(MessageRoleSchema);

const sendMessage = clientCommand({
  name: "send",
  summary: "store a message in a session",
  description: "The message is what stands behind the session; without it, or with -, what stands on stdin.",
  words: { session, message: manyWords({ about: "its words, or -", optional: true }) },
  flags: {
    role: withDefault(choice({ about: "who speaks", choices: ROLES, placeholder: "ROLE" }), "user"),
    id: text({ about: "the message's id; the same id and content again is the same message" }),
    container: text({ about: "the container that it is about", placeholder: "ID" }),
    toolName: text({ about: "the tool that was called" }),
    toolCallId: text({ about: "the call that it answers", placeholder: "ID" }),
    extra: pairs({ about: "anything else that programs want to know" }),
    idempotencyKey: text({ about: "makes a repetition harmless", placeholder: "KEY" }),
    wait: toggle({ about: "wait for the assistant's answer and print that; --timeout bounds the wait" }),
  },
  examples: [
    { about: "a word", line: "baaaht message send build hello" },
    { about: "a file", line: "baaaht message send build --role system < instructions.md" },
    { about: "a question, and its answer", line: 'baaaht message send build --wait "Is it green?"' },
  ],
  run: async ({ client, flags, words, shell, print }) => {
    const content = await contentOf(words.message, shell);
    const sessionId = await findSessionId(client, words.session);
    const message = {
      id: flags.id ?? "",
      role: enumNumber(MessageRoleSchema, flags.role),
      content,
      metadata: {
        containerId: flags.container ?? "",
        toolName: flags.toolName ?? "",
        toolCallId: flags.toolCallId ?? "",
        extra: flags.extra,
      },
    };
    if (flags.wait) {
      if (flags.role !== "user") throw problem("--wait is for what a user says, and --role is another one");
      if (flags.idempotencyKey !== undefined)
        throw problem("--wait goes with --id, not with --idempotency-key");
      const id = message.id === "" ? Bun.randomUUIDv7() : message.id;
      const awaited = { sessionId, message: { ...message, id }, timeoutMs: flags.timeout };
      const answer = await awaitAnswer(client, awaited);
      await print.entry({
        id: answer.id,
        value: () => jsonOf(MessageSchema, answer),
        line: () => (shell.out.isTerminal ? readable(answer.content) : answer.content),
      });
      return EXIT_CODES.ok;
    }
    const sent = await client.orchestrator.sendMessage({
      sessionId,
      idempotencyKey: flags.idempotencyKey ?? "",
      message,
    });
    await print.record({
      id: sent.messageId,
      value: () => jsonOf(SendMessageResponseSchema, sent),
      rows: () => [
        ["ID", cell(sent.messageId)],
        ["Session", cell(sent.sessionId)],
        ["Stored", timeCell(sent.timestamp, print.times)],
      ],
    });
    return EXIT_CODES.ok;
  },
});

const listMessages = clientCommand({
  name: "list",
  summary: "list the messages of a session, oldest first",
  words: { session },
  flags: {
    newestFirst: toggle({ about: "the newest first" }),
    limit: int({ about: "how many at most (default all)", min: 1 }),
  },
  examples: [
    { about: "the last ten", line: "baaaht message list build --newest-first --limit 10" },
    { about: "the words alone", line: "baaaht message list build -o jsonl | jq -r .content" },
  ],
  run: async ({ client, flags, words, print }) => {
    const sessionId = await findSessionId(client, words.session);
    const { items, ...rest } = await readPages(flags.limit, async (request) => {
      const asked = { ...request, sessionId, newestFirst: flags.newestFirst };
      const { messages, ...page } = await client.orchestrator.listMessages(asked);
      return { ...page, items: messages };
    });
    await print.list({
      items,
      columns: messageColumns(print.times),
      id: ({ id }) => id,
      itemValue: (message) => jsonOf(MessageSchema, message),
      value: () => jsonOf(ListMessagesResponseSchema, { ...rest, messages: [...items] }),
    });
    return EXIT_CODES.ok;
  },
});

export const messageGroup = group({
  name: "message",
  summary: "send and list the messages of a session",
  commands: [sendMessage, listMessages],
});

/** A text of several lines without anything else that a terminal would obey. */
function readable(text: string): string {
  return text
    .split("\n")
    .map((line) => printable(line))
    .join("\n");
}

function messageColumns(times: TimeStyle): readonly Column<Message>[] {
  return [
    { title: "ID", of: ({ id }) => cell(id), isId: true },
    { title: "STORED", of: ({ timestamp }) => timeCell(timestamp, times) },
    { title: "ROLE", of: ({ role }) => cell(enumWord(MessageRoleSchema, role)) },
    { title: "CONTENT", of: ({ content }) => cell(content) },
  ];
}

async function contentOf(words: readonly string[], shell: Shell): Promise<string> {
  const isOnInput = words.length === 0 || (words.length === 1 && words[0] === "-");
  if (!isOnInput) return words.join(" ");
  if (words.length === 0 && shell.in.isTerminal)
    throw problem("MESSAGE is missing: its words, or - to type it here");
  const chunks: Uint8Array[] = [];
  for await (const chunk of shell.in.read(new AbortController().signal)) chunks.push(chunk);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks));
  } catch {
    throw new Failure("invalid_argument", "Cannot send the message on stdin: it is not UTF-8 text");
  }
}
