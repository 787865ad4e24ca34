import { mkdtempSync, rmSync } from "node:fs";
import * as http2 from "node:http2";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  create,
  type DescMethod,
  type DescService,
  fromBinary,
  type Message,
  toBinary,
} from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import * as grpc from "@grpc/grpc-js";
import { listen } from "../../src/daemon/listener.ts";
import { peerOf } from "../../src/daemon/peer.ts";
import { type ErrorInfo, ErrorInfoSchema } from "../../src/gen/google/rpc/error_details_pb.ts";
import { type Status, StatusSchema } from "../../src/gen/google/rpc/status_pb.ts";
import { OrchestratorService } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { addService, createServer, type RpcServer, type RpcServerOptions } from "../../src/rpc/adapter.ts";
import type { Handlers } from "../../src/rpc/handlers.ts";

export const SERVICE = OrchestratorService;
export type TestHandlers = Handlers<typeof OrchestratorService>;

export interface TestServer extends AsyncDisposable {
  readonly path: string;
  readonly server: RpcServer;
  /** What the handlers threw that was not a Failure. */
  readonly defects: readonly unknown[];
  /** A connection of its own, closed with the server. */
  connect(): grpc.Client;
  /** The same, without gRPC on top. */
  connectHttp2(): http2.ClientHttp2Session;
}

export interface TestServerOptions extends Partial<RpcServerOptions> {
  readonly handlers?: TestHandlers;
  readonly graceMs?: number;
  readonly setUp?: (server: RpcServer) => void;
}

/** A real server on a real socket in a fresh folder. */
export async function testServer(options: TestServerOptions = {}): Promise<TestServer> {
  const { handlers = {}, graceMs = 1_000, setUp, ...rest } = options;
  const folder = mkdtempSync(join(tmpdir(), "baaaht-rpc-"));
  const defects: unknown[] = [];
  const server = createServer({ report: (defect) => defects.push(defect), callerOf: peerOf, ...rest });
  addService(server, SERVICE, handlers, ["orchestrator.v1.OrchestratorService"]);
  setUp?.(server);
  const listener = await listen(server, { path: join(folder, "s"), graceMs });
  const { path } = listener;
  const opened: { close(): void }[] = [];
  return {
    path,
    server,
    defects,
    connect() {
      const client = new grpc.Client(`unix:${path}`, grpc.credentials.createInsecure(), {
        "grpc.use_local_subchannel_pool": 1,
        "grpc.max_receive_message_length": -1,
      });
      opened.push(client);
      return client;
    },
    connectHttp2() {
      const session = http2.connect("http://localhost", { createConnection: () => connect(path) });
      session.on("error", () => {});
      opened.push({ close: () => session.destroy() });
      return session;
    },
    async [Symbol.asyncDispose]() {
      for (const client of opened) client.close();
      await listener[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true });
    },
  };
}

/** The path of a method, by its local name. */
export function pathOf(method: { readonly parent: DescService; readonly name: string }): string {
  return `/${method.parent.typeName}/${method.name}`;
}

export function asItIs(bytes: Buffer): Buffer {
  return bytes;
}

/** Makes a unary call; resolves with the answer, rejects with grpc-js' error. */
export function callUnary(
  client: grpc.Client,
  method: DescMethod,
  request: Uint8Array | Record<string, unknown>,
  options: {
    readonly metadata?: Record<string, string>;
    readonly deadline?: number;
    readonly path?: string;
  } = {},
): Promise<{ readonly answer: Message; readonly headers: grpc.Metadata; readonly trailers: grpc.Metadata }> {
  const { promise, resolve, reject } = Promise.withResolvers<{
    answer: Message;
    headers: grpc.Metadata;
    trailers: grpc.Metadata;
  }>();
  const metadata = new grpc.Metadata();
  for (const [name, value] of Object.entries(options.metadata ?? {})) metadata.set(name, value);
  let headers = new grpc.Metadata();
  let trailers = new grpc.Metadata();
  let answer: Message | undefined;
  const call = client.makeUnaryRequest(
    options.path ?? pathOf(method),
    asItIs,
    asItIs,
    encode(method, request),
    metadata,
    options.deadline === undefined ? {} : { deadline: options.deadline },
    (error, bytes) => {
      if (error !== null) reject(error);
      else if (bytes !== undefined) answer = fromBinary(method.output, bytes);
    },
  );
  call.on("metadata", (received) => {
    headers = received;
  });
  call.on("status", (status) => {
    trailers = status.metadata;
    if (answer !== undefined) resolve({ answer, headers, trailers });
  });
  return promise;
}

/** Opens a call that answers with a stream; what comes is bytes. */
export function openServerStream(
  client: grpc.Client,
  method: DescMethod,
  request: Record<string, unknown> = {},
  options: grpc.CallOptions = {},
): grpc.ClientReadableStream<Buffer> {
  const call = client.makeServerStreamRequest(
    pathOf(method),
    asItIs,
    asItIs,
    encode(method, request),
    options,
  );
  // What a test does not ask about must not end the process.
  call.on("error", () => {});
  return call;
}

/** Opens a call that streams both ways. */
export function openBidiStream(
  client: grpc.Client,
  method: DescMethod,
): grpc.ClientDuplexStream<Buffer, Buffer> {
  const call = client.makeBidiStreamRequest(pathOf(method), asItIs, asItIs);
  call.on("error", () => {});
  return call;
}

/** Opens a call that streams requests; `answer` settles with it. */
export function openClientStream(
  client: grpc.Client,
  method: DescMethod,
): { readonly call: grpc.ClientWritableStream<Buffer>; readonly answer: Promise<Message> } {
  const { promise, resolve, reject } = Promise.withResolvers<Message>();
  promise.catch(() => {});
  const call = client.makeClientStreamRequest(pathOf(method), asItIs, asItIs, (error, bytes) => {
    if (error !== null) reject(error);
    else if (bytes !== undefined) resolve(fromBinary(method.output, bytes));
  });
  return { call, answer: promise };
}

/** What a call ends with, whatever it is. */
export function endOf(
  call: grpc.ClientReadableStream<Buffer>,
): Promise<grpc.ServiceError | grpc.StatusObject> {
  const { promise, resolve } = Promise.withResolvers<grpc.ServiceError | grpc.StatusObject>();
  call.on("status", resolve);
  call.resume();
  return promise;
}

export function encode(method: DescMethod, request: Uint8Array | Record<string, unknown>): Buffer {
  if (request instanceof Uint8Array) return Buffer.from(request);
  return Buffer.from(toBinary(method.input, create(method.input, request)));
}

/** The error that a promise is rejected with, as grpc-js makes it. */
export async function errorOf(promise: Promise<unknown>): Promise<grpc.ServiceError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof Error && "code" in error) return error as grpc.ServiceError; // its fields, by grpc-js' types
    throw error;
  }
  throw new Error("the call succeeded");
}

/** The google.rpc.Status in an error's details. */
export function statusIn(error: grpc.ServiceError): Status {
  const [bytes] = error.metadata.get("grpc-status-details-bin");
  if (!(bytes instanceof Uint8Array)) throw new Error(`there are no details with: ${error.message}`);
  return fromBinary(StatusSchema, bytes);
}

export function errorInfoIn(error: grpc.ServiceError): ErrorInfo {
  for (const detail of statusIn(error).details) {
    const info = anyUnpack(detail, ErrorInfoSchema);
    if (info !== undefined) return info;
  }
  throw new Error(`there is no ErrorInfo with: ${error.message}`);
}
