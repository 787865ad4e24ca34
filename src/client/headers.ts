import type { Metadata } from "@grpc/grpc-js";
import type { Headers } from "./call-options.ts";

/** The text entries of `metadata`; binary ones (`-bin`) are left out. */
export function headersOf(metadata: Metadata): Headers {
  const headers = new Map<string, string>();
  for (const [name, values] of Object.entries(metadata.toJSON())) {
    if (!name.endsWith("-bin")) headers.set(name, values.join(","));
  }
  return headers;
}
