import type { Client } from "../client/client.ts";
import { type Message, MessageRole } from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import type { Said, ToolCall } from "./provider.ts";
import { estimatedTokens } from "./token-estimate.ts";
import { callIn, questionOf, resultIn } from "./tool-messages.ts";

/** What was said in a session before a question. */
export interface Conversation {
  /** Oldest first. */
  readonly said: readonly Said[];
  /** What SYSTEM messages say; it frames the conversation. */
  readonly instructions: readonly string[];
  /** How many messages had no room, the oldest ones. */
  readonly leftOut: number;
}

export interface Reading {
  readonly sessionId: string;
  /** The question's. Questions behind it wait for their own turns, and are no part of this one. */
  readonly messageId: string;
  /** What there is room for. */
  readonly maxTokens: number;
  readonly signal: AbortSignal;
}

/** Entries of one page: a conversation that fits is mostly read at once. */
const PAGE_SIZE = 100;

/** Reads the conversation before a question, as much of it as there is room for, the newest first. */
export async function readConversation(client: Client, reading: Reading): Promise<Conversation> {
  const kept: Message[] = [];
  let room = reading.maxTokens;
  let leftOut = 0;
  let isBehindQuestion = true;
  for await (const { message, newer, total } of newestFirst(client, reading)) {
    if (message.id === reading.messageId) isBehindQuestion = false;
    else if (!isBehindQuestion || message.role !== MessageRole.USER) {
      room -= estimatedTokens(message.content);
      if (room < 0) {
        leftOut = total - newer;
        break;
      }
      kept.push(message);
    }
  }
  const oldestFirst = kept.reverse();
  const isInstruction = ({ role }: Message) => role === MessageRole.SYSTEM;
  const talk = oldestFirst.filter((message) => !isInstruction(message));
  return {
    said: joined(saidIn(inTurns(talk, { ...reading, isCut: leftOut > 0 }))),
    instructions: oldestFirst.filter(isInstruction).map(({ content }) => content),
    leftOut,
  };
}

interface Read {
  readonly message: Message;
  /** How many of the session's messages are newer than it. */
  readonly newer: number;
  /** How many the session has. */
  readonly total: number;
}

async function* newestFirst(client: Client, { sessionId, signal }: Reading): AsyncGenerator<Read> {
  let pageToken = "";
  let newer = 0;
  do {
    const page = await client.orchestrator.listMessages(
      { sessionId, pageSize: PAGE_SIZE, pageToken, newestFirst: true },
      { signal },
    );
    for (const message of page.messages) {
      yield { message, newer, total: page.totalCount };
      newer += 1;
    }
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
}

/**
 * Each answer, and what tools did for it, behind its question: questions that wait are stored before the answer that they
 * wait for. What belongs to a question that had no room comes first.
 */
function inTurns(
  oldestFirst: readonly Message[],
  { messageId, isCut }: { readonly messageId: string; readonly isCut: boolean },
): readonly Message[] {
  const first: Message[] = [];
  const behind = new Map<string, Message[]>();
  for (const { id, role } of oldestFirst) if (role === MessageRole.USER) behind.set(id, []);
  const inPlace: Message[] = [];
  for (const message of oldestFirst) {
    const question = message.role === MessageRole.USER ? undefined : belongsTo(message);
    const group = question === undefined ? undefined : behind.get(question);
    if (group !== undefined) group.push(message);
    // What an earlier attempt at this very question has done stays right before it.
    else if (question !== undefined && isCut && question !== messageId) first.push(message);
    else inPlace.push(message);
  }
  return [...first, ...inPlace.flatMap((message) => [message, ...(behind.get(message.id) ?? [])])];
}

function belongsTo(message: Message): string | undefined {
  return message.role === MessageRole.TOOL ? questionOf(message) : message.metadata?.extra.reply_to;
}

/** Calls of tools without their results, and results without their calls, are left out: models refuse them. */
function saidIn(messages: readonly Message[]): readonly Said[] {
  const calls = new Map<string, ToolCall>();
  return messages.flatMap((message): readonly Said[] => {
    switch (message.role) {
      case MessageRole.USER:
        return [{ by: "user", text: message.content }];
      case MessageRole.ASSISTANT:
        return [{ by: "assistant", text: message.content, calls: [] }];
      case MessageRole.TOOL: {
        const call = callIn(message);
        if (call !== undefined) calls.set(call.id, call);
        const result = resultIn(message);
        const asked = result === undefined ? undefined : calls.get(result.id);
        if (result === undefined || asked === undefined) return [];
        return [
          { by: "assistant", text: "", calls: [asked] },
          { by: "tools", results: [result] },
        ];
      }
      default:
        return [];
    }
  });
}

/** What one side says in several messages in a row becomes one: some models insist on turns. */
function joined(all: readonly Said[]): readonly Said[] {
  const turns: Said[] = [];
  for (const said of all) {
    const last = turns.at(-1);
    if (said.by === "user" && last?.by === "user") {
      turns[turns.length - 1] = { by: "user", text: `${last.text}\n\n${said.text}` };
    } else turns.push(said);
  }
  return turns;
}
