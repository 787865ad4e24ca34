import { Failure, type FieldViolation, invalid } from "../failure.ts";
import type {
  GatewayConfig,
  GatewaySide,
  Session,
  SessionConfig,
  SessionMetadata,
} from "../sessions/session.ts";
import { labelViolations, type SessionLimits } from "../sessions/session-limits.ts";

/** A session that a user interface has opened. */
export type GatewaySession = Session & { readonly gateway: GatewaySide };

/** A gateway session as a client asks for it. */
export interface WantedGateway {
  readonly metadata: SessionMetadata & { readonly clientType: string; readonly clientVersion: string };
  readonly config: WantedConfig;
}

export interface WantedConfig {
  /** Nanoseconds; 0: the server's default. */
  readonly timeoutNs: bigint;
  readonly idleTimeoutNs: bigint;
  readonly enableStreaming: boolean;
  /** 0: the server's. */
  readonly maxMessageBytes: number;
  readonly chunkSize: bigint;
  readonly chunkDelayNs: bigint;
  readonly enableDelta: boolean;
  readonly requireAuth: boolean;
  readonly allowedOrigins: readonly string[];
  readonly enableEncryption: boolean;
}

export interface GatewayLimits {
  readonly session: SessionLimits;
  /** Of any message, in UTF-8. */
  readonly maxContentBytes: number;
}

/** Who calls, as far as a gateway session's `security` asks. */
export interface GatewayCaller {
  /** `unknown` where the server does not know. */
  readonly actor: string;
  /** What a browser says of the page that calls; `undefined` where none does. */
  readonly origin: string | undefined;
}

/** Longer lists and pauses than these make no sense anywhere, so they are not configured. */
const maxOrigins = 256;
const maxOriginLength = 1_024;
const maxDelayNs = 60_000_000_000n;

/** The session that stands behind a gateway session. Failures: INVALID_ARGUMENT naming each wrong field. */
export function sessionOf(
  wanted: WantedGateway,
  limits: GatewayLimits,
): { readonly metadata: SessionMetadata; readonly config: SessionConfig; readonly gateway: GatewaySide } {
  const violations = [
    ...metadataViolations(wanted.metadata, limits.session),
    ...configViolations(wanted.config, limits),
  ];
  if (violations.length > 0) throw invalid("create a gateway session", violations);
  const { clientType, clientVersion, ...metadata } = wanted.metadata;
  const { timeoutNs, idleTimeoutNs, enableEncryption: _, ...config } = wanted.config;
  const gateway: GatewayConfig = {
    ...config,
    maxMessageBytes: config.maxMessageBytes === 0 ? limits.maxContentBytes : config.maxMessageBytes,
    chunkSize: Number(config.chunkSize),
  };
  return {
    metadata,
    config: { ...plainConfig, maxDurationNs: timeoutNs, idleTimeoutNs },
    gateway: { clientType, clientVersion, config: gateway },
  };
}

/** The session, if it is one of a user interface. Failures: NOT_FOUND. */
export function gatewaySession(session: Session | undefined, id: string): GatewaySession {
  if (session?.gateway !== undefined) return { ...session, gateway: session.gateway };
  throw new Failure("not_found", `Cannot find gateway session "${id}": there is none with this id`, {
    reason: "SESSION_NOT_FOUND",
    metadata: { session_id: id },
  });
}

/** Failures: UNAUTHENTICATED and PERMISSION_DENIED, where the session's `security` does not let the caller in. */
export function admitCaller({ id, gateway }: GatewaySession, caller: GatewayCaller): void {
  const { requireAuth, allowedOrigins } = gateway.config;
  if (requireAuth && caller.actor === "unknown") {
    throw new Failure(
      "unauthenticated",
      `Cannot use gateway session "${id}": its security has require_auth, and it is not known who calls`,
    );
  }
  const { origin } = caller;
  if (origin === undefined || allowedOrigins.length === 0 || allowedOrigins.includes(origin)) return;
  throw new Failure(
    "permission_denied",
    `Cannot use gateway session "${id}" from origin "${origin.slice(0, 128)}": its security.allowed_origins do not have it`,
    { reason: "ORIGIN_NOT_ALLOWED", metadata: { origin: origin.slice(0, 128) } },
  );
}

/** Failures: INVALID_ARGUMENT when a message is larger than the session lets messages be. */
export function checkMessageSize({ gateway }: GatewaySession, content: string): void {
  const { maxMessageBytes } = gateway.config;
  if (content.length * 3 <= maxMessageBytes) return;
  const bytes = Buffer.byteLength(content);
  if (bytes <= maxMessageBytes) return;
  const description = `has ${bytes} bytes; at most ${maxMessageBytes} are allowed in this session`;
  throw invalid("send a message", [{ field: "message.content", description }]);
}

/** A user interface opens no containers; whoever does so in its session by other calls has the server's defaults. */
const plainConfig: SessionConfig = {
  maxContainers: 0,
  maxDurationNs: 0n,
  idleTimeoutNs: 0n,
  limits: { nanoCpu: 0n, memoryBytes: 0n, memorySwap: 0n, pidsLimit: 0n },
  allowedImages: [],
  policy: {
    allowNetwork: false,
    allowedNetworks: [],
    allowVolumeMount: false,
    allowedPaths: [],
    requireApproval: false,
  },
};

function metadataViolations(metadata: WantedGateway["metadata"], limits: SessionLimits): FieldViolation[] {
  const violations = [...labelViolations(metadata.labels, limits, "metadata.labels")];
  const texts: readonly (readonly [field: string, text: string, most: number])[] = [
    ["name", metadata.name, limits.maxNameLength],
    ["description", metadata.description, limits.maxDescriptionLength],
    ["user_id", metadata.ownerId, limits.maxNameLength],
    ["client_type", metadata.clientType, limits.maxNameLength],
    ["client_version", metadata.clientVersion, limits.maxNameLength],
    ...metadata.tags
      .slice(0, limits.maxTags)
      .map((tag, at) => [`tags[${at}]`, tag, limits.maxTagLength] as const),
  ];
  for (const [field, text, most] of texts) {
    if (text.length <= most) continue;
    const description = `has ${text.length} characters; at most ${most} are allowed`;
    violations.push({ field: `metadata.${field}`, description });
  }
  if (metadata.tags.length > limits.maxTags) {
    const description = `has ${metadata.tags.length} entries; at most ${limits.maxTags} are allowed`;
    violations.push({ field: "metadata.tags", description });
  }
  return violations;
}

function configViolations(config: WantedConfig, { maxContentBytes }: GatewayLimits): FieldViolation[] {
  const violations: FieldViolation[] = [];
  const bounded = (field: string, value: bigint | number, most: bigint | number | undefined) => {
    if (value >= 0 && (most === undefined || value <= most)) return;
    const range =
      most === undefined ? "it can't be negative (0 means the default)" : `0 to ${most} are allowed`;
    violations.push({ field: `config.${field}`, description: `is ${value}; ${range}` });
  };
  bounded("timeout_ns", config.timeoutNs, undefined);
  bounded("idle_timeout_ns", config.idleTimeoutNs, undefined);
  bounded("max_message_size", config.maxMessageBytes, maxContentBytes);
  bounded("stream_config.chunk_size", config.chunkSize, BigInt(Number.MAX_SAFE_INTEGER));
  bounded("stream_config.chunk_delay_ns", config.chunkDelayNs, maxDelayNs);
  const { allowedOrigins } = config;
  if (allowedOrigins.length > maxOrigins || allowedOrigins.some(({ length }) => length > maxOriginLength)) {
    const description = `has ${allowedOrigins.length} entries; at most ${maxOrigins} of ${maxOriginLength} characters are allowed`;
    violations.push({ field: "config.security.allowed_origins", description });
  }
  if (config.enableEncryption) {
    const description = "is true; the server listens on a Unix socket, which nothing encrypts";
    violations.push({ field: "config.security.enable_encryption", description });
  }
  return violations;
}
