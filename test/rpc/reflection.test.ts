import { describe, expect, test } from "bun:test";
import { create, createFileRegistry, fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import * as grpc from "@grpc/grpc-js";
import { Health } from "../../src/gen/grpc/health/v1/health_pb.ts";
import {
  ServerReflection,
  type ServerReflectionRequestSchema,
  ServerReflectionResponseSchema,
} from "../../src/gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as AlphaServerReflection } from "../../src/gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { AgentService } from "../../src/gen/proto/agent/v1/agent_pb.ts";
import { GatewayService } from "../../src/gen/proto/gateway/v1/gateway_pb.ts";
import { addService } from "../../src/rpc/adapter.ts";
import { familyNames } from "../../src/rpc/families.ts";
import { reflection } from "../../src/rpc/reflection.ts";
import { encode, openBidiStream, SERVICE, testServer } from "./test-server.ts";

type Asked = MessageInitShape<typeof ServerReflectionRequestSchema>["messageRequest"];

async function reflectionServer(
  version: typeof ServerReflection | typeof AlphaServerReflection = ServerReflection,
) {
  const { v1, v1alpha } = reflection([SERVICE, AgentService, GatewayService, Health, ServerReflection]);
  const server = await testServer({
    setUp(rpc) {
      addService(rpc, ServerReflection, v1);
      addService(rpc, AlphaServerReflection, v1alpha);
    },
  });
  const call = openBidiStream(server.connect(), version.method.serverReflectionInfo);
  const answers = call[Symbol.asyncIterator]();
  return {
    call,
    async ask(messageRequest: Asked) {
      call.write(encode(ServerReflection.method.serverReflectionInfo, { host: "h", messageRequest }));
      const { value } = await answers.next();
      // Both versions have the same bytes for the same things.
      return fromBinary(ServerReflectionResponseSchema, value);
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

type Answered = Awaited<ReturnType<Awaited<ReturnType<typeof reflectionServer>>["ask"]>>;

function filesIn({ messageResponse }: Answered) {
  if (messageResponse.case !== "fileDescriptorResponse") throw new Error(`got ${messageResponse.case}`);
  return messageResponse.value.fileDescriptorProto.map((bytes) =>
    fromBinary(FileDescriptorProtoSchema, bytes),
  );
}

describe.each([
  ["v1", ServerReflection],
  ["v1alpha", AlphaServerReflection],
])("reflection() %s", (_, version) => {
  test("lists the services under all their names", async () => {
    await using server = await reflectionServer(version);
    const { messageResponse, originalRequest, validHost } = await server.ask({
      case: "listServices",
      value: "",
    });
    expect(messageResponse.value).toMatchObject({
      service: [
        "agent.v1.AgentService",
        "gateway.v1.GatewayService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "orchestrator.v1.OrchestratorService",
        "proto.agent.v1.AgentService",
        "proto.gateway.v1.GatewayService",
        "proto.orchestrator.v1.OrchestratorService",
      ].map((name) => ({ name })),
    });
    expect(originalRequest?.messageRequest.case).toBe("listServices");
    expect(validHost).toBe("h");
  });

  test.each([SERVICE, AgentService, GatewayService].flatMap(familyNames))(
    "describes %s with all that it needs",
    async (name) => {
      await using server = await reflectionServer(version);
      const files = filesIn(await server.ask({ case: "fileContainingSymbol", value: name }));
      const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: files.toReversed() }));
      const service = registry.getService(name);
      expect(service?.methods.length).toBeGreaterThan(5);
      const family = name.slice(0, name.lastIndexOf("."));
      for (const { input, output } of service?.methods ?? []) {
        for (const { typeName } of [input, output]) {
          expect(typeName.startsWith(`${family}.`) || typeName.startsWith("google.protobuf.")).toBe(true);
        }
      }
    },
  );
});

describe("reflection()", () => {
  test.each([
    "proto.orchestrator.v1.OrchestratorService.GetSession",
    "orchestrator.v1.OrchestratorService.GetSession",
    "orchestrator.v1.Session",
    "orchestrator.v1.Session.state",
    "orchestrator.v1.StreamMessageRequest.payload",
    "orchestrator.v1.SessionState",
    "orchestrator.v1.SESSION_STATE_ACTIVE",
    "orchestrator.v1.SessionMetadata.LabelsEntry",
    "common.v1.ResourceLimits",
    "google.protobuf.Timestamp",
    "google.rpc.ErrorInfo",
  ])("finds the symbol %s", async (symbol) => {
    await using server = await reflectionServer();
    const [file] = filesIn(await server.ask({ case: "fileContainingSymbol", value: symbol }));
    expect(symbol).toStartWith(file?.package ?? "nothing");
  });

  test("finds files by name, and sends what they import once a stream", async () => {
    await using server = await reflectionServer();
    const ask = async (value: string) =>
      filesIn(await server.ask({ case: "fileByFilename", value })).map(({ name }) => name);
    expect(await ask("agent/v1/agent.proto")).toEqual([
      "agent/v1/agent.proto",
      "google/protobuf/empty.proto",
      "google/protobuf/timestamp.proto",
      "common/v1/common.proto",
    ]);
    expect(await ask("agent/v1/agent.proto")).toEqual(["agent/v1/agent.proto"]);
    expect(await ask("gateway/v1/gateway.proto")).toEqual(["gateway/v1/gateway.proto"]);
  });

  test.each<[string, Asked]>([
    ["file", { case: "fileByFilename", value: "no.proto" }],
    ["symbol", { case: "fileContainingSymbol", value: "no.Symbol" }],
    [
      "extension",
      {
        case: "fileContainingExtension",
        value: { containingType: "orchestrator.v1.Session", extensionNumber: 1 },
      },
    ],
    ["extended type", { case: "allExtensionNumbersOfType", value: "no.Type" }],
  ])("answers an unknown %s with an error and goes on", async (_, asked) => {
    await using server = await reflectionServer();
    const { messageResponse } = await server.ask(asked);
    expect(messageResponse.case).toBe("errorResponse");
    expect(messageResponse.value).toMatchObject({ errorCode: grpc.status.NOT_FOUND });
    expect((await server.ask({ case: "listServices", value: "" })).messageResponse.case).toBe(
      "listServicesResponse",
    );
  });

  test("says that a message has no extensions", async () => {
    await using server = await reflectionServer();
    const { messageResponse } = await server.ask({
      case: "allExtensionNumbersOfType",
      value: "orchestrator.v1.Session",
    });
    expect(messageResponse.value).toMatchObject({
      baseTypeName: "orchestrator.v1.Session",
      extensionNumber: [],
    });
  });

  test("ends a stream that asks nothing", async () => {
    await using server = await reflectionServer();
    const status = new Promise<grpc.StatusObject>((resolve) => server.call.on("status", resolve));
    await expect(server.ask({ case: undefined })).rejects.toThrow();
    expect((await status).code).toBe(grpc.status.INVALID_ARGUMENT);
  });
});
