import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Chunk } from "../chat/answer-reader.ts";
import type { GatewayCaller, GatewaySession, WantedConfig, WantedGateway } from "../chat/gateway-session.ts";
import type { LiveTurn } from "../chat/live-turn.ts";
import type { TurnFailure } from "../chat/turn.ts";
import { invalid } from "../failure.ts";
import { Status, StatusSchema } from "../gen/proto/common/v1/common_pb.ts";
import {
  GatewayEventType,
  type GatewayMessage,
  GatewayMessageRoleSchema,
  type GatewaySessionSchema,
  GatewaySessionStateSchema,
  type ResponseChunkSchema,
  StreamState,
  type StreamStatusSchema,
  type GatewaySessionConfig as WireConfig,
  type GatewaySessionFilter as WireFilter,
  type GatewaySessionMetadata as WireMetadata,
  GatewayMessageRole as WireRole,
  GatewaySessionState as WireState,
} from "../gen/proto/gateway/v1/gateway_pb.ts";
import type { Draft, Message } from "../messages/message.ts";
import type { Activity, Session } from "../sessions/session.ts";
import type { SessionFilter } from "../sessions/sessions.ts";
import type { Call } from "./call.ts";
import { sessionStatuses } from "./wire-session.ts";
import { knownEnum, timestamp } from "./wire-values.ts";

type State = Session["life"]["state"];

const states = ["active", "closing", "closed"] as const satisfies readonly State[];

const wireStates: Readonly<Record<State, WireState>> = {
  active: WireState.ACTIVE,
  closing: WireState.CLOSING,
  closed: WireState.CLOSED,
};

export function toWireGatewayState(session: GatewaySession): WireState {
  return wireStates[session.life.state];
}

/** A gateway session as the wire has it. */
export function toWireGateway(
  session: GatewaySession,
  activity: Activity | undefined,
): MessageInitShape<typeof GatewaySessionSchema> {
  const { life, metadata, gateway, config } = session;
  const { ownerId, tags, ...rest } = metadata;
  const expiresAt = life.state === "active" ? (activity?.expiresAt ?? undefined) : undefined;
  return {
    id: session.id,
    state: wireStates[life.state],
    status: sessionStatuses[life.state],
    createdAt: timestamp(session.createdAt),
    updatedAt: timestamp(session.updatedAt),
    ...(expiresAt === undefined ? {} : { expiresAt: timestamp(expiresAt) }),
    ...(life.state === "closed" ? { closedAt: timestamp(life.at) } : {}),
    metadata: {
      ...rest,
      userId: ownerId,
      tags: [...tags],
      clientType: gateway.clientType,
      clientVersion: gateway.clientVersion,
    },
    config: {
      timeoutNs: config.maxDurationNs,
      idleTimeoutNs: config.idleTimeoutNs,
      enableStreaming: gateway.config.enableStreaming,
      maxMessageSize: gateway.config.maxMessageBytes,
      streamConfig: {
        chunkSize: BigInt(gateway.config.chunkSize),
        chunkDelayNs: gateway.config.chunkDelayNs,
        enableDelta: gateway.config.enableDelta,
      },
      security: {
        requireAuth: gateway.config.requireAuth,
        allowedOrigins: [...gateway.config.allowedOrigins],
        enableEncryption: false,
      },
    },
    orchestratorSessionId: session.id,
  };
}

/** What a client asks for. Without a config, or a stream_config, answers stream and chunks hold what is new. */
export function wantedGatewayOf(
  metadata: WireMetadata | undefined,
  config: WireConfig | undefined,
): WantedGateway {
  const { name = "", description = "", labels = {}, userId = "", tags = [] } = metadata ?? {};
  const { clientType = "", clientVersion = "" } = metadata ?? {};
  return {
    metadata: { name, description, labels, ownerId: userId, tags, clientType, clientVersion },
    config: wantedConfigOf(config),
  };
}

export function gatewayFilterOf(wire: WireFilter | undefined): SessionFilter {
  if (wire === undefined) return {};
  knownEnum(GatewaySessionStateSchema, wire.state, "filter.state");
  knownEnum(StatusSchema, wire.status, "filter.status");
  const wanted = states.filter(
    (state) =>
      (wire.state === WireState.UNSPECIFIED || wireStates[state] === wire.state) &&
      (wire.status === Status.UNSPECIFIED || sessionStatuses[state] === wire.status),
  );
  const isAny = wire.state === WireState.UNSPECIFIED && wire.status === Status.UNSPECIFIED;
  return {
    ...(isAny ? {} : { states: wanted }),
    ...(wire.userId === "" ? {} : { ownerId: wire.userId }),
    labels: wire.labels,
  };
}

/** A message that a user interface sends. Failures: INVALID_ARGUMENT. */
export function gatewayDraftOf(wire: GatewayMessage | undefined, sessionId: string): Draft {
  if (wire === undefined) throw invalid("send a message", [{ field: "message", description: "is missing" }]);
  const {
    sessionId: theirs = "",
    correlationId = "",
    model = "",
    extra = {},
    tokensUsed = 0,
  } = wire.metadata ?? {};
  if (theirs !== "" && theirs !== sessionId) {
    const description = `is "${theirs.slice(0, 64)}"; it has to be the session's, or empty`;
    throw invalid("send a message", [{ field: "message.metadata.session_id", description }]);
  }
  return {
    id: wire.id,
    role: roleOf(wire.role),
    content: wire.content,
    metadata: {
      containerId: "",
      toolName: "",
      toolCallId: "",
      extra: {
        ...extra,
        ...(correlationId === "" ? {} : { correlation_id: correlationId }),
        ...(model === "" ? {} : { model }),
        ...(tokensUsed === 0 ? {} : { tokens_used: String(tokensUsed) }),
      },
    },
  };
}

/** Who calls, as far as a gateway session asks. */
export function gatewayCallerOf(call: Call): GatewayCaller {
  return { actor: call.caller.actor, origin: call.metadata.get("origin") };
}

/** How a chunk is sent. */
export interface ChunkShape {
  /** All of the answer so far; `undefined`: only what is new. */
  readonly soFar: string | undefined;
  readonly metadata: "with" | "without";
  readonly at: number;
}

/** A chunk as the wire has it. */
export function toWireChunk(chunk: Chunk, shape: ChunkShape): MessageInitShape<typeof ResponseChunkSchema> {
  const { sequence, text, totalBytes, place } = chunk;
  const isFinal = place === "last";
  return {
    chunkId: String(sequence),
    sequence,
    text: shape.soFar ?? text,
    isDelta: shape.soFar === undefined,
    isFinal,
    ...(shape.metadata === "without"
      ? {}
      : {
          metadata: {
            timestamp: timestamp(shape.at),
            contentType: "text/plain",
            totalBytes: BigInt(totalBytes),
            progress: isFinal ? 1 : 0,
          },
        }),
  };
}

/** Where a turn is, for a reader who has been sent so much of its answer. */
export function toWireStreamStatus(
  turn: LiveTurn,
  sent: { readonly bytes: number; readonly chunks: number },
): MessageInitShape<typeof StreamStatusSchema> {
  const { over, messageId } = turn;
  const status = {
    bytesSent: BigInt(sent.bytes),
    chunksSent: BigInt(sent.chunks),
    startedAt: timestamp(turn.startedAt),
    messageId,
  };
  if (over === undefined) {
    const state = turn.running === undefined ? StreamState.INITIALIZING : StreamState.ACTIVE;
    return { ...status, state };
  }
  const ended = { ...status, endedAt: timestamp(over.endedAt) };
  switch (over.end.kind) {
    case "answered":
      return { ...ended, state: StreamState.COMPLETE, answerId: over.end.answerId };
    case "failed":
      return { ...ended, state: StreamState.ERROR, message: over.end.words, reason: over.end.reason };
    case "cancelled":
      return { ...ended, state: StreamState.CANCELLED, message: over.end.words };
  }
}

/** The end of an answer for a caller that does not want what is left of it: it is stored, and whoever wants it has it there. */
export function toWireGivenUp(
  turn: LiveTurn,
  sent: { readonly bytes: number; readonly chunks: number },
  words: string,
): MessageInitShape<typeof StreamStatusSchema> {
  return { ...toWireStreamStatus(turn, sent), state: StreamState.CANCELLED, message: words };
}

const nobody: TurnFailure = "NO_ASSISTANT";

/** What a message on StreamChat is answered that begins no turn: it is stored, and no more, or it was never asked. */
export function toWireUnasked(message: Message) {
  if (message.role === "user") {
    const status = {
      state: StreamState.ERROR,
      message: "there was no assistant when this was asked",
      reason: nobody,
      startedAt: timestamp(message.at),
      endedAt: timestamp(message.at),
      messageId: message.id,
    };
    return { case: "status", value: status } as const;
  }
  const event = {
    type: message.role === "assistant" ? GatewayEventType.MESSAGE_RECEIVED : GatewayEventType.MESSAGE_SENT,
    source: "gateway.grpc",
    timestamp: timestamp(message.at),
    data: { message_id: message.id, role: message.role, ordinal: String(message.ordinal) },
    metadata: { sessionId: message.sessionId, messageId: message.id },
  };
  return { case: "event", value: event } as const;
}

function wantedConfigOf(wire: WireConfig | undefined): WantedConfig {
  const stream = wire?.streamConfig;
  const security = wire?.security;
  return {
    timeoutNs: wire?.timeoutNs ?? 0n,
    idleTimeoutNs: wire?.idleTimeoutNs ?? 0n,
    enableStreaming: wire?.enableStreaming ?? true,
    maxMessageBytes: wire?.maxMessageSize ?? 0,
    chunkSize: stream?.chunkSize ?? 0n,
    chunkDelayNs: stream?.chunkDelayNs ?? 0n,
    enableDelta: stream?.enableDelta ?? true,
    requireAuth: security?.requireAuth ?? false,
    allowedOrigins: security?.allowedOrigins ?? [],
    enableEncryption: security?.enableEncryption ?? false,
  };
}

function roleOf(wire: WireRole): Draft["role"] {
  knownEnum(GatewayMessageRoleSchema, wire, "message.role");
  switch (wire) {
    case WireRole.USER:
      return "user";
    case WireRole.SYSTEM:
      return "system";
    case WireRole.ASSISTANT:
      return "assistant";
    default: {
      const description = "is missing; GATEWAY_MESSAGE_ROLE_USER, _SYSTEM or _ASSISTANT is allowed";
      throw invalid("send a message", [{ field: "message.role", description }]);
    }
  }
}
