import type { Metadata } from "@grpc/grpc-js";

/** Where clients put a correlation id, and where every answer carries it. */
export const CORRELATION_HEADER = "x-correlation-id";

/** The id that the client gave, or a new one when it gave none that fits into a log line. */
export function correlationIdOf(metadata: Metadata): string {
  return given(metadata, CORRELATION_HEADER) ?? given(metadata, "x-request-id") ?? Bun.randomUUIDv7();
}

/** Likewise for what is not a call, and has no metadata. */
export function correlationIdFrom(text: string): string {
  return CORRELATION_ID.test(text) ? text : Bun.randomUUIDv7();
}

/** 1 to 128 printable ASCII characters, none of them a space at an end. */
const CORRELATION_ID = /^[!-~](?:[ -~]{0,126}[!-~])?$/;

function given(metadata: Metadata, name: string): string | undefined {
  const value = metadata.get(name)[0];
  return typeof value === "string" && CORRELATION_ID.test(value) ? value : undefined;
}
