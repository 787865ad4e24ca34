import { create, type DescMessage, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { anyPack, durationFromMs } from "@bufbuild/protobuf/wkt";
import { Metadata, type StatusObject } from "@grpc/grpc-js";
import type { Failure } from "../failure.ts";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RequestInfoSchema,
  RetryInfoSchema,
} from "../gen/google/rpc/error_details_pb.ts";
import { type Status, StatusSchema } from "../gen/google/rpc/status_pb.ts";
import { STATUS_CODES } from "../status-codes.ts";

/**
 * What the client is told: the code, the message, and the details as `grpc-status-details-bin`.
 *
 * All of it together stays under 8 KB as it is written on the wire, because that is where clients built on gRPC's
 * C core begin to refuse an answer's trailers.
 */
export function statusOf(failure: Failure, correlationId: string): StatusObject {
  const metadata = new Metadata();
  metadata.set("grpc-status-details-bin", Buffer.from(encodedStatus(failure, correlationId)));
  return {
    code: STATUS_CODES[failure.kind],
    details: cut(failure.message, MESSAGE_BYTES, percentEncodedBytes),
    metadata,
  };
}

/** The message as it is percent-encoded on the wire. */
const MESSAGE_BYTES = 4096;

/** The details before base64 makes them a third larger. */
const DETAILS_BYTES = 2560;

/** The message once more, inside of the details. */
const DETAILED_MESSAGE_BYTES = 1024;

/** One description, one value of ErrorInfo.metadata. */
const DETAIL_TEXT_BYTES = 256;

/** More than this of anything can't fit. */
const MOST_DETAILS = 64;

/** The name, in ErrorInfo, of the product whose reasons these are. */
const DOMAIN = "baaaht";

/** Leaves out the last violation or entry of the metadata, whichever there are more of, until the rest fits. */
function encodedStatus(failure: Failure, correlationId: string): Uint8Array {
  const violations = (failure.details.violations ?? [])
    .slice(0, MOST_DETAILS)
    .map(({ field, description }) => ({
      field: text(field),
      description: text(description),
    }));
  const metadata = Object.entries(failure.details.metadata ?? {})
    .slice(0, MOST_DETAILS)
    .map(([key, value]) => [text(key), text(value)]);
  for (;;) {
    const status: Status = create(StatusSchema, {
      code: STATUS_CODES[failure.kind],
      message: cut(failure.message, DETAILED_MESSAGE_BYTES, utf8Bytes),
    });
    if (violations.length > 0) pack(status, BadRequestSchema, { fieldViolations: violations });
    pack(status, ErrorInfoSchema, {
      reason: text(failure.details.reason ?? failure.kind.toUpperCase()),
      domain: DOMAIN,
      metadata: { ...Object.fromEntries(metadata), correlation_id: correlationId },
    });
    if (failure.details.retryAfterMs !== undefined) {
      pack(status, RetryInfoSchema, { retryDelay: durationFromMs(failure.details.retryAfterMs) });
    }
    pack(status, RequestInfoSchema, { requestId: correlationId });
    const bytes = toBinary(StatusSchema, status);
    if (bytes.byteLength <= DETAILS_BYTES) return bytes;
    if ((metadata.length > violations.length ? metadata : violations).pop() === undefined) return bytes;
  }
}

function pack<D extends DescMessage>(status: Status, schema: D, detail: MessageInitShape<D>): void {
  status.details.push(anyPack(schema, create(schema, detail)));
}

function text(value: string): string {
  return cut(value, DETAIL_TEXT_BYTES, utf8Bytes);
}

/** Without lone surrogates, which can be neither percent-encoded nor written as UTF-8, and not longer than `limit`. */
function cut(value: string, limit: number, size: (text: string) => number): string {
  // No character takes less than a byte, so what lies further back can never fit; it may be huge, so it goes first.
  const wellFormed = value.slice(0, limit + 1).toWellFormed();
  if (value.length <= limit && size(wellFormed) <= limit) return wellFormed;
  let kept = "";
  let room = limit - CUT_MARK.length;
  for (const character of wellFormed) {
    room -= size(character);
    if (room < 0) break;
    kept += character;
  }
  return kept + CUT_MARK;
}

/** In characters that percent-encoding leaves alone. */
const CUT_MARK = "...(cut)";

function utf8Bytes(value: string): number {
  return Buffer.byteLength(value);
}

function percentEncodedBytes(value: string): number {
  return encodeURI(value).length;
}
