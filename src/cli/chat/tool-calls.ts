import type { Client } from "../../client/client.ts";
import { watch } from "../../client/watch.ts";
import { EventType, type Message, MessageRole } from "../../gen/proto/orchestrator/v1/orchestrator_pb.ts";

/** A call of a tool, as it is stored: when it begins, and again when it has ended. */
export interface ShownCall {
  readonly id: string;
  readonly name: string;
  /** What it was called with, in one line. */
  readonly input: string;
  /** Undefined while it runs. */
  readonly result: { readonly text: string; readonly isFailure: boolean } | undefined;
  /** How much of the answer comes before it, in bytes of UTF-8. */
  readonly answerBytes: number;
}

/** How many of a session's newest messages are looked through for one that the log tells of. */
const LOOK_BACK = 50;

interface Following {
  readonly sessionId: string;
  readonly signal: AbortSignal;
  /** Told when nothing that happens from now on is missed. */
  readonly onStarted: () => void;
  readonly onCall: (call: ShownCall) => void;
  /** Told when the turn of a question has ended: what it called has been told of before. */
  readonly onTurnOver: (messageId: string) => void;
}

const TURN_ENDS: readonly EventType[] = [
  EventType.TURN_ANSWERED,
  EventType.TURN_FAILED,
  EventType.TURN_CANCELLED,
];

/** Tells of each tool that is called in a session, and of what it gives, until `signal` aborts. */
export async function followToolCalls(client: Client, following: Following): Promise<void> {
  const { sessionId, signal, onStarted, onCall, onTurnOver } = following;
  const filter = { sessionId, types: [EventType.MESSAGE_CREATED, ...TURN_ENDS] };
  const begun = new Map<string, ShownCall>();
  for await (const { type, data } of watch(client, { filter, signal, onStarted })) {
    if (TURN_ENDS.includes(type)) onTurnOver(data.message_id ?? "");
    if (type !== EventType.MESSAGE_CREATED || data.role !== "tool") continue;
    const { messages } = await client.orchestrator.listMessages(
      { sessionId, newestFirst: true, pageSize: LOOK_BACK },
      { signal },
    );
    const message = messages.find(({ id }) => id === data.message_id);
    if (message === undefined || message.role !== MessageRole.TOOL) continue;
    const call = callOf(message, begun);
    if (call.result === undefined) begun.set(call.id, call);
    else begun.delete(call.id);
    onCall(call);
  }
}

/** Waits for what the log has to tell of a turn that has ended, and not for long. */
export async function caughtUp(over: Promise<void>): Promise<void> {
  const late = Promise.withResolvers<void>();
  const timer = setTimeout(late.resolve, CATCH_UP_MS);
  await Promise.race([over, late.promise]);
  clearTimeout(timer);
}

const CATCH_UP_MS = 2_000;

function callOf({ id, content, metadata }: Message, begun: ReadonlyMap<string, ShownCall>): ShownCall {
  const { toolCallId = "", toolName = "", extra = {} } = metadata ?? {};
  const answerBytes = Number(extra.answer_bytes ?? 0) || 0;
  const call = { id: toolCallId || id, name: toolName || "tool", answerBytes };
  if (extra.tool === "call") return { ...call, input: inputWords(content), result: undefined };
  const input = begun.get(toolCallId)?.input ?? "";
  return { ...call, input, result: { text: content, isFailure: extra.failed === "true" } };
}

/** The values of a call's input, which say more to a person than its JSON does. */
function inputWords(content: string): string {
  try {
    const input: unknown = JSON.parse(content);
    if (typeof input !== "object" || input === null) return content;
    return Object.values(input)
      .map((value) => (typeof value === "string" ? value.trim() : JSON.stringify(value)))
      .join(" ");
  } catch {
    return content;
  }
}
