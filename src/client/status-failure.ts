import { type DescMessage, fromBinary, type MessageShape } from "@bufbuild/protobuf";
import { type Any, anyUnpack, durationMs } from "@bufbuild/protobuf/wkt";
import type { StatusObject } from "@grpc/grpc-js";
import { Failure, type FailureDetails } from "../failure.ts";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "../gen/google/rpc/error_details_pb.ts";
import { type Status, StatusSchema } from "../gen/google/rpc/status_pb.ts";
import { kindOfStatus, STATUS_CODES } from "../status-codes.ts";
import type { Address } from "./address.ts";
import { MAX_MESSAGE_BYTES } from "./connection.ts";

/** The reason of the Failures that say that the connection was lost under a call. */
export const CONNECTION_LOST = "CONNECTION_LOST";

/** The reason of the Failures that say that a stream was ended because its client did not read it. */
export const STREAM_NOT_READ = "STREAM_NOT_READ";

/** What grpc-js says of a stream that was reset with ENHANCE_YOUR_CALM; a status would not have come through to us. */
const RESET_CALM = "Bandwidth exhausted or memory limit exceeded";

/** Which call a status is of. */
export interface Asked {
  /** The method's name, such as `GetSession`. */
  readonly method: string;
  readonly address: Address;
  /** How long the call was given; milliseconds. */
  readonly timeoutMs: number;
}

/** The Failure that a status other than OK stands for: in the server's words and with its details, or in ours for what gRPC itself says. */
export function failureOf(status: StatusObject, asked: Asked): Failure {
  const kind = kindOfStatus(status.code);
  const details = detailsOf(status);
  if (details !== undefined || status.metadata.get("x-correlation-id").length > 0) {
    return new Failure(kind, status.details, details);
  }
  const cause = new Error(status.details);
  switch (lostInDisguise(status) ? STATUS_CODES.unavailable : status.code) {
    case STATUS_CODES.unavailable:
      return new Failure(
        "unavailable",
        `Cannot finish ${asked.method}: the connection to ${asked.address.text} was lost before the answer came`,
        { reason: CONNECTION_LOST, cause },
      );
    case STATUS_CODES.deadline_exceeded:
      return new Failure(kind, `Cannot finish ${asked.method}: not done within ${asked.timeoutMs / 1000} s`, {
        cause,
      });
    case STATUS_CODES.resource_exhausted:
      if (status.details === RESET_CALM) {
        return new Failure(
          kind,
          `Cannot go on with ${asked.method}: it was not read for too long, and the server has thrown away what was left`,
          { reason: STREAM_NOT_READ, cause },
        );
      }
      return status.details.startsWith("Received message larger")
        ? new Failure(
            kind,
            `Cannot read the answer to ${asked.method}: it is larger than the ${MAX_MESSAGE_BYTES} bytes that a message may have`,
            { reason: "MESSAGE_TOO_LARGE", cause },
          )
        : new Failure(kind, status.details, { cause });
    default:
      return new Failure(kind, status.details, { cause });
  }
}

/** The Failure that the server has put into a message: a code, its words, and the bytes of its details. */
export function failureIn(end: {
  readonly code: number;
  readonly message: string;
  readonly details: Uint8Array;
}): Failure {
  return new Failure(kindOfStatus(end.code), end.message, detailsIn(end.details));
}

/**
 * Whether grpc-js took a connection that went away for something else: HTTP/2 then ends each stream as if the server had
 * reset it, with no error or with CANCEL. (Our own cancels never come here; their callers are told at once.)
 */
function lostInDisguise({ code, details }: StatusObject): boolean {
  if (code === STATUS_CODES.cancelled) return details === "Call cancelled";
  return (
    code === STATUS_CODES.internal &&
    /ended without gRPC status|triggered by internal client error/.test(details)
  );
}

function detailsOf(status: StatusObject): FailureDetails | undefined {
  const bytes = status.metadata.get("grpc-status-details-bin")[0];
  return bytes instanceof Uint8Array ? detailsIn(bytes) : undefined;
}

function detailsIn(bytes: Uint8Array): FailureDetails | undefined {
  const given = decoded(bytes);
  if (given === undefined) return undefined;
  const bad = find(given.details, BadRequestSchema);
  const info = find(given.details, ErrorInfoSchema);
  const retryDelay = find(given.details, RetryInfoSchema)?.retryDelay;
  return {
    ...(bad && { violations: bad.fieldViolations.map(({ field, description }) => ({ field, description })) }),
    ...(info && { reason: info.reason, metadata: info.metadata }),
    ...(retryDelay && { retryAfterMs: durationMs(retryDelay) }),
  };
}

function decoded(bytes: Uint8Array): Status | undefined {
  try {
    return fromBinary(StatusSchema, bytes);
  } catch {
    return undefined; // of another server than ours; code and message are still good
  }
}

function find<D extends DescMessage>(details: readonly Any[], schema: D): MessageShape<D> | undefined {
  for (const detail of details) {
    try {
      const message = anyUnpack(detail, schema);
      if (message !== undefined) return message;
    } catch {
      // As above.
    }
  }
  return undefined;
}
