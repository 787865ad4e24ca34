import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  create,
  type DescMethod,
  type DescMethodUnary,
  type DescService,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import {
  type handleBidiStreamingCall,
  type handleClientStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  Server,
  ServerCredentials,
  type ServiceDefinition,
} from "@grpc/grpc-js";
import { AgentService } from "../../src/gen/proto/agent/v1/agent_pb.ts";
import { GatewayService } from "../../src/gen/proto/gateway/v1/gateway_pb.ts";
import { OrchestratorService } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";

/** Handlers as grpc-js has them: what is tested is the client, so nothing of ours stands between it and the wire. */
export type RawHandlers<S extends DescService = typeof OrchestratorService> = {
  readonly [Name in keyof S["method"]]?: RawHandler<S["method"][Name]>;
};

type In<M extends DescMethod> = MessageShape<M["input"]>;
type Out<M extends DescMethod> = MessageInitShape<M["output"]>;
type RawHandler<M extends DescMethod> = M extends DescMethodUnary
  ? handleUnaryCall<In<M>, Out<M>>
  : M extends { methodKind: "server_streaming" }
    ? handleServerStreamingCall<In<M>, Out<M>>
    : M extends { methodKind: "client_streaming" }
      ? handleClientStreamingCall<In<M>, Out<M>>
      : handleBidiStreamingCall<In<M>, Out<M>>;

/** A server of the orchestrator's calls, and of agents' calls, on a Unix socket. */
export interface RawServer extends AsyncDisposable {
  readonly path: string;
}

/** Serves `handlers` on `path`, by default in a fresh folder that is removed at the end. */
export async function serveRaw(
  handlers: RawHandlers,
  options: {
    readonly path?: string;
    readonly agent?: RawHandlers<typeof AgentService>;
    readonly gateway?: RawHandlers<typeof GatewayService>;
  } = {},
): Promise<RawServer> {
  const folder = options.path === undefined ? await freshFolder() : undefined;
  const path = options.path ?? join(folder?.path ?? "", "s.sock");
  const server = new Server({ "grpc.max_receive_message_length": -1, "grpc.max_send_message_length": -1 });
  server.addService(definition(OrchestratorService), { ...handlers });
  server.addService(definition(AgentService), { ...options.agent });
  server.addService(definition(GatewayService), { ...options.gateway });
  await new Promise<void>((resolve, reject) =>
    server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    ),
  );
  return {
    path,
    [Symbol.asyncDispose]: async () => {
      server.forceShutdown();
      await folder?.[Symbol.asyncDispose]();
    },
  };
}

export async function freshFolder(): Promise<{ readonly path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), "baaaht-client-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

function definition(service: DescService): ServiceDefinition {
  return Object.fromEntries(
    service.methods.map((method: DescMethod) => [
      method.localName,
      {
        path: `/${method.parent.typeName}/${method.name}`,
        requestStream: method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming",
        responseStream: method.methodKind === "server_streaming" || method.methodKind === "bidi_streaming",
        requestSerialize: () => Buffer.alloc(0),
        requestDeserialize: (bytes: Buffer) => fromBinary(method.input, bytes),
        responseSerialize: (message: Record<string, unknown>) =>
          Buffer.from(toBinary(method.output, create(method.output, message))),
        responseDeserialize: (bytes: Buffer) => bytes,
      },
    ]),
  );
}
