import { create, toBinary } from "@bufbuild/protobuf";
import { type Any, anyPack, durationFromMs } from "@bufbuild/protobuf/wkt";
import { Metadata } from "@grpc/grpc-js";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RetryInfoSchema,
} from "../../src/gen/google/rpc/error_details_pb.ts";
import { StatusSchema } from "../../src/gen/google/rpc/status_pb.ts";

/** What a server of ours sends beside an error's code and message. */
export function statusDetails(
  code: number,
  given: {
    readonly reason?: string;
    readonly metadata?: Record<string, string>;
    readonly violations?: { readonly field: string; readonly description: string }[];
    readonly retryAfterMs?: number;
  },
): Metadata {
  const { reason = "TEST", metadata = {}, violations, retryAfterMs } = given;
  const details: Any[] = [
    anyPack(ErrorInfoSchema, create(ErrorInfoSchema, { reason, domain: "baaaht", metadata })),
  ];
  if (violations !== undefined) {
    details.push(anyPack(BadRequestSchema, create(BadRequestSchema, { fieldViolations: violations })));
  }
  if (retryAfterMs !== undefined) {
    const retryDelay = durationFromMs(retryAfterMs);
    details.push(anyPack(RetryInfoSchema, create(RetryInfoSchema, { retryDelay })));
  }
  const trailers = new Metadata();
  const bytes = toBinary(StatusSchema, create(StatusSchema, { code, details }));
  trailers.set("grpc-status-details-bin", Buffer.from(bytes));
  return trailers;
}
