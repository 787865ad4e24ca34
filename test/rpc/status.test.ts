import { describe, expect, test } from "bun:test";
import { type DescMessage, fromBinary, type MessageShape } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import * as grpc from "@grpc/grpc-js";
import { Failure } from "../../src/failure.ts";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RequestInfoSchema,
  RetryInfoSchema,
} from "../../src/gen/google/rpc/error_details_pb.ts";
import { type Status, StatusSchema } from "../../src/gen/google/rpc/status_pb.ts";
import { statusOf } from "../../src/rpc/status.ts";
import { kindOfStatus, STATUS_CODES } from "../../src/status-codes.ts";

function detailsOf(failure: Failure): Status {
  const [bytes] = statusOf(failure, "id").metadata.get("grpc-status-details-bin");
  if (!(bytes instanceof Uint8Array)) throw new Error("there are no details");
  return fromBinary(StatusSchema, bytes);
}

function detail<D extends DescMessage>(failure: Failure, schema: D): MessageShape<D> | undefined {
  return detailsOf(failure)
    .details.map((any) => anyUnpack(any, schema))
    .find((found) => found !== undefined);
}

const KINDS = Object.values(STATUS_CODES).map(kindOfStatus);

describe("STATUS_CODES", () => {
  test("STATUS_CODES has the number of each gRPC status but OK", () => {
    const byName = Object.fromEntries(
      Object.entries(STATUS_CODES).map(([kind, code]) => [kind.toUpperCase(), code]),
    );
    const { OK: _, ...statuses } = grpc.status;
    const named = Object.entries(statuses).filter(([name]) => Number.isNaN(Number(name)));
    expect<Record<string, unknown>>(byName).toEqual(Object.fromEntries(named));
  });

  test("kindOfStatus() turns each code back, and codes it does not know into unknown", () => {
    for (const [kind, code] of Object.entries(STATUS_CODES)) expect<string>(kindOfStatus(code)).toBe(kind);
    for (const code of [0, -1, 17, 1e9]) expect(kindOfStatus(code)).toBe("unknown");
  });
});

describe("statusOf()", () => {
  test("statusOf() gives each kind its code, and the kind as the reason", () => {
    for (const kind of KINDS) {
      const failure = new Failure(kind, "Cannot do it: no");
      const code = STATUS_CODES[kind];
      expect(statusOf(failure, "id")).toMatchObject({ code, details: "Cannot do it: no" });
      expect(detailsOf(failure)).toMatchObject({ code, message: "Cannot do it: no" });
      expect(detail(failure, ErrorInfoSchema)).toMatchObject({
        domain: "baaaht",
        reason: kind.toUpperCase(),
        metadata: { correlation_id: "id" },
      });
      expect(detail(failure, RequestInfoSchema)?.requestId).toBe("id");
    }
  });

  test("statusOf() carries violations, the reason, its metadata and when to try again", () => {
    const failure = new Failure("unavailable", "Cannot do it", {
      violations: [{ field: "a.b", description: "is bad" }],
      reason: "ENGINE_LOST",
      metadata: { socket: "/x" },
      retryAfterMs: 1_500,
    });
    expect(detail(failure, BadRequestSchema)?.fieldViolations).toMatchObject([
      { field: "a.b", description: "is bad" },
    ]);
    expect(detail(failure, ErrorInfoSchema)).toMatchObject({
      reason: "ENGINE_LOST",
      metadata: { socket: "/x" },
    });
    expect(detail(failure, RetryInfoSchema)?.retryDelay).toMatchObject({ seconds: 1n, nanos: 500_000_000 });
  });

  test("statusOf() leaves out BadRequest and RetryInfo that say nothing", () => {
    const failure = new Failure("not_found", "Cannot find it");
    expect(detail(failure, BadRequestSchema)).toBeUndefined();
    expect(detail(failure, RetryInfoSchema)).toBeUndefined();
  });

  test.each([
    ["ASCII", "x".repeat(1_000_000)],
    ["what percent-encoding triples", "\n".repeat(1_000_000)],
    ["what it makes nine times as long", "\u4e00".repeat(1_000_000)],
    ["surrogate pairs", "\u{1f600}".repeat(1_000_000)],
    ["lone surrogates", "\ud800".repeat(1_000_000)],
  ])("statusOf() cuts a message of %s", (_, message) => {
    const failure = new Failure("internal", message);
    const { details } = statusOf(failure, "id");
    expect(encodeURI(details).length).toBeLessThanOrEqual(4_096);
    expect(encodeURI(details).length).toBeGreaterThan(4_000);
    expect(details).toEndWith("...(cut)");
    expect(details.isWellFormed()).toBe(true);
    expect(detailsOf(failure).message).toEndWith("...(cut)");
  });

  test("statusOf() keeps a message that just fits whole", () => {
    const message = "x".repeat(4_096);
    expect(statusOf(new Failure("internal", message), "id").details).toBe(message);
    expect(statusOf(new Failure("internal", `${message}x`), "id").details).toEndWith("(cut)");
  });

  test("statusOf() stays under 8 KB on the wire whatever the failure holds", () => {
    const large = "\u{1f600}\ud800".repeat(10_000);
    const failure = new Failure("invalid_argument", large, {
      violations: Array.from({ length: 10_000 }, () => ({ field: large, description: large })),
      reason: large,
      metadata: Object.fromEntries(Array.from({ length: 1_000 }, (_, at) => [`${at}${large}`, large])),
      retryAfterMs: 1,
    });
    const { details, metadata } = statusOf(failure, "i".repeat(128));
    const [bytes] = metadata.get("grpc-status-details-bin");
    const base64 = Buffer.from(bytes ?? "").toString("base64");
    expect(encodeURI(details).length + base64.length).toBeLessThan(8_000);
    expect(detail(failure, ErrorInfoSchema)?.metadata.correlation_id).toBe("id");
    expect(detail(failure, BadRequestSchema)?.fieldViolations.length).toBeGreaterThan(0);
  });
});
