import { type DescMethod, fromBinary } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import * as grpc from "@grpc/grpc-js";
import { BadRequestSchema, ErrorInfoSchema } from "../../src/gen/google/rpc/error_details_pb.ts";
import { StatusSchema } from "../../src/gen/google/rpc/status_pb.ts";
import { asItIs, encode, pathOf } from "./test-server.ts";

/** A status as a client sees it. */
export interface Refusal {
  readonly code: number;
  readonly message: string;
  readonly reason: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** Those that BadRequest names. */
  readonly fields: readonly string[];
}

/** Makes a call of any kind with one request, as bytes or as what a message is made from, and gives the status it ends with. */
export async function refusalOf(
  client: grpc.Client,
  method: DescMethod,
  request: Uint8Array | Record<string, unknown>,
  options: grpc.CallOptions = {},
): Promise<Refusal> {
  const deadline = Date.now() + 15_000;
  const call = client.makeBidiStreamRequest(pathOf(method), asItIs, asItIs, new grpc.Metadata(), {
    deadline,
    ...options,
  });
  call.on("error", () => {}); // the status says the same
  call.write(encode(method, request));
  call.end();
  return refusalIn(await statusOf(call));
}

/** The status that a call ends with; what it answers before is thrown away. */
export async function statusOf(
  call: grpc.ClientReadableStream<Buffer> | grpc.ClientDuplexStream<Buffer, Buffer>,
): Promise<grpc.StatusObject> {
  const { promise, resolve } = Promise.withResolvers<grpc.StatusObject>();
  call.on("status", resolve);
  call.on("error", () => {});
  call.resume();
  return await promise;
}

export function refusalIn(status: grpc.StatusObject): Refusal {
  const [bytes] = status.metadata.get("grpc-status-details-bin");
  const details = bytes instanceof Uint8Array ? fromBinary(StatusSchema, bytes).details : [];
  const found = {
    reason: "",
    metadata: {} as Readonly<Record<string, string>>,
    fields: [] as readonly string[],
  };
  for (const detail of details) {
    const info = anyUnpack(detail, ErrorInfoSchema);
    if (info !== undefined) Object.assign(found, { reason: info.reason, metadata: info.metadata });
    const bad = anyUnpack(detail, BadRequestSchema);
    if (bad !== undefined) found.fields = bad.fieldViolations.map(({ field }) => field);
  }
  return { code: status.code, message: status.details, ...found };
}
