import type { Client } from "../client/client.ts";
import { Failure } from "../failure.ts";
import { MessageRole } from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { AnswerView } from "./chat/answer-view.ts";
import { askTurn, followed, type TurnEnd } from "./chat/asked-turn.ts";
import { withoutControls } from "./chat/markdown.ts";
import { PlainTurn } from "./chat/plain-turn.ts";
import { chatOnTerminal } from "./chat/terminal-chat.ts";
import { caughtUp, followToolCalls } from "./chat/tool-calls.ts";
import { clientCommand } from "./client-command.ts";
import { manyWords } from "./command.ts";
import { EXIT_CODES } from "./exit-codes.ts";
import { findSessionId } from "./find-id.ts";
import { problem, text, toggle } from "./flag.ts";
import { hasColours } from "./output.ts";
import type { Shell } from "./shell.ts";
import { stopOnSignals } from "./stop-on-signals.ts";

export const chatCommand = clientCommand({
  name: "chat",
  summary: "talk with the assistant",
  description: `On a terminal it is a conversation: Enter sends, Ctrl-C cancels an answer and leaves when it is pressed again, Ctrl-O
shows what tools give. The session stays, and "baaaht chat --session ID" goes on with it.

With a MESSAGE, or something on stdin, it is a filter: the question goes in, the answer comes out, and the exit code
says whether there was one. The session is closed then unless it was given or --keep says otherwise.`,
  words: { message: manyWords({ about: "the question, for one answer", optional: true }) },
  flags: {
    session: text({
      about: "the conversation to go on with: its id, the beginning of it, or its name (default: a new one)",
      short: "s",
      placeholder: "SESSION",
    }),
    name: text({ about: "the new session's name (default: chat)", short: "n" }),
    keep: toggle({ about: "keep the new session when the question is answered" }),
    tools: toggle({ about: "show on stderr which tools are called, and what they give" }),
    noMarkdown: toggle({ about: "show answers as they come, also on a terminal" }),
  },
  examples: [
    { about: "a conversation", line: "baaaht chat" },
    { about: "one question", line: "baaaht chat 'what is 6 times 7?'" },
    { about: "about a file", line: "baaaht chat 'what does this do?' < main.c" },
  ],
  run: async ({ client, flags, words, shell }) => {
    const isPainted = !flags.noMarkdown && hasColours(shell.out, shell.env);
    const question = await questionOf(words.message, shell);
    const sessionId =
      flags.session === undefined
        ? await newSession(client, flags.name ?? "chat")
        : await findSessionId(client, flags.session);
    const ask = await askingOf(client, sessionId);
    if (question === undefined) {
      if (flags.session !== undefined) await showLast(client, { sessionId, shell, isPainted });
      const asked = await askedBefore(client, sessionId);
      const exitCode = await chatOnTerminal(client, { sessionId, shell, isPainted, asked, ask });
      await shell.err.write(`To go on: baaaht chat --session ${sessionId}\n`).catch(() => undefined);
      return exitCode;
    }
    try {
      const showsTools = flags.tools;
      return await answerOnce(client, { sessionId, question, shell, isPainted, showsTools, ask });
    } finally {
      if (flags.session === undefined && !flags.keep)
        await client.gateway
          .closeGatewaySession({ sessionId, reason: "its question is over" }, { timeoutMs: CLOSE_TIMEOUT_MS })
          .catch(() => undefined); // it ends by itself when nothing happens in it
    }
  },
});

/** Containers may take their time. */
const CLOSE_TIMEOUT_MS = 60_000;

/** A new session ends by itself a day after the last word. */
const IDLE_TIMEOUT_NS = 86_400_000_000_000n;

async function newSession(client: Client, name: string): Promise<string> {
  const { sessionId } = await client.gateway.createGatewaySession({
    metadata: { name, clientType: "cli" },
    config: { enableStreaming: true, streamConfig: { enableDelta: true }, idleTimeoutNs: IDLE_TIMEOUT_NS },
  });
  return sessionId;
}

/** How a session is asked: one that a user interface has opened gives its answers while they are made. */
async function askingOf(client: Client, sessionId: string): Promise<typeof askTurn> {
  try {
    await client.gateway.getGatewaySession({ sessionId });
    return askTurn;
  } catch (error) {
    if (Failure.from(error)?.kind !== "not_found") throw error;
    await client.orchestrator.getSession({ sessionId, messageLimit: 1 });
    return (other, asking) => followed(other, asking, new PlainTurn(asking));
  }
}

/** What was asked for on the command line or on stdin; undefined when somebody sits there to type. */
async function questionOf(words: readonly string[], shell: Shell): Promise<string | undefined> {
  const given = shell.in.isGiven() ? await inputOf(shell) : "";
  const question = [words.join(" "), given].filter((part) => part.trim() !== "").join("\n\n");
  if (question !== "") return question;
  if (shell.in.isTerminal && shell.out.isTerminal) return undefined;
  throw problem("MESSAGE is missing: without a terminal, the question has to be there or on stdin");
}

async function inputOf(shell: Shell): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of shell.in.read(new AbortController().signal)) chunks.push(chunk);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks));
  } catch {
    throw new Failure("invalid_argument", "Cannot send the question on stdin: it is not UTF-8 text");
  }
}

interface Once {
  readonly sessionId: string;
  readonly question: string;
  readonly shell: Shell;
  readonly isPainted: boolean;
  readonly showsTools: boolean;
  readonly ask: typeof askTurn;
}

/** One question, one answer. */
async function answerOnce(client: Client, once: Once): Promise<number> {
  const { sessionId, question, shell, isPainted } = once;
  using stop = stopOnSignals(shell, undefined);
  const over = new AbortController();
  using _over = { [Symbol.dispose]: () => over.abort() };
  const tools = once.showsTools ? await tellTools(client, { ...once, signal: over.signal }) : undefined;
  const view = new AnswerView({ isPainted, isUnfolded: () => true, unfoldHint: "" });
  let hasText = false;
  const end = await once.ask(client, {
    sessionId,
    messageId: Bun.randomUUIDv7(),
    text: question,
    cancel: stop.signal,
    signal: over.signal,
    onText: async (piece) => {
      hasText = true;
      await shell.out.write(view.text(piece));
    },
    onAgain: () => shell.out.write(view.again()),
    onInterrupted: ({ message }) => shell.err.write(`${message}; connecting again\n`),
  });
  if (hasText) await shell.out.write(view.end());
  await tools?.();
  return stop.exitCode() ?? exitCodeOf(end);
}

/** Tells of the tools from now on; what it gives waits until all was told of the turn. */
async function tellTools(
  client: Client,
  once: Once & { readonly signal: AbortSignal },
): Promise<() => Promise<void>> {
  const { sessionId, shell, signal } = once;
  const view = new AnswerView({ isPainted: false, isUnfolded: () => true, unfoldHint: "" });
  const started = Promise.withResolvers<void>();
  const over = Promise.withResolvers<void>();
  const following = followToolCalls(client, {
    sessionId,
    signal,
    onStarted: () => started.resolve(),
    onCall: (call) => void shell.err.write(view.call({ ...call, answerBytes: 0 })).catch(() => undefined),
    onTurnOver: () => over.resolve(),
  });
  await Promise.race([started.promise, following]);
  following.catch(() => undefined); // the answer is what counts, and it has a connection of its own
  return () => caughtUp(over.promise);
}

function exitCodeOf(end: TurnEnd): number {
  if (end.how === "answered") return EXIT_CODES.ok;
  if (end.how === "cancelled")
    throw new Failure("cancelled", "Cannot go on with the answer: it was cancelled");
  const kind = UNAVAILABLE_REASONS.has(end.reason) ? "unavailable" : "unknown";
  throw new Failure(kind, `Cannot have an answer: ${end.words}`, { reason: end.reason });
}

/** It may be answered when it is asked again. */
const UNAVAILABLE_REASONS: ReadonlySet<string> = new Set([
  "NO_ASSISTANT",
  "ASSISTANT_LOST",
  "SERVER_STOPPED",
]);

/** What was said last, for who comes back. */
async function showLast(
  client: Client,
  { sessionId, shell, isPainted }: Pick<Once, "sessionId" | "shell" | "isPainted">,
): Promise<void> {
  const { messages } = await client.orchestrator.listMessages({ sessionId, newestFirst: true, pageSize: 20 });
  for (const { role, content } of messages.slice(0, SHOWN_MESSAGES).toReversed()) {
    if (role === MessageRole.USER)
      await shell.out.write(`> ${withoutControls(content).replaceAll("\n", "\n  ")}\n`);
    if (role !== MessageRole.ASSISTANT) continue;
    const view = new AnswerView({ isPainted, isUnfolded: () => false, unfoldHint: "" });
    await shell.out.write(`${view.text(content)}${view.end()}\n`);
  }
}

const SHOWN_MESSAGES = 6;

/** For the way back with Up. */
async function askedBefore(client: Client, sessionId: string): Promise<readonly string[]> {
  const { messages } = await client.orchestrator.listMessages({
    sessionId,
    newestFirst: true,
    pageSize: 100,
  });
  const asked = messages.filter(({ role }) => role === MessageRole.USER).map(({ content }) => content);
  return asked.toReversed();
}
