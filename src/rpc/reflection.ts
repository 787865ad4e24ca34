import type { DescFile, DescService } from "@bufbuild/protobuf";
import { toBinary } from "@bufbuild/protobuf";
import { type FileDescriptorProto, FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Failure } from "../failure.ts";
import { file_google_rpc_error_details } from "../gen/google/rpc/error_details_pb.ts";
import type { ServerReflection, ServerReflectionRequest } from "../gen/grpc/reflection/v1/reflection_pb.ts";
import type {
  ServerReflectionRequest as AlphaRequest,
  ServerReflection as AlphaServerReflection,
} from "../gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { STATUS_CODES } from "../status-codes.ts";
import { familyNames, shortFamilyFile } from "./families.ts";
import type { Handlers } from "./handlers.ts";
import { symbolsOf } from "./symbols.ts";

/** The handlers of grpc.reflection.v1 and v1alpha, which tell of `services` under all their names. */
export function reflection(services: readonly DescService[]): {
  readonly v1: Handlers<typeof ServerReflection>;
  readonly v1alpha: Handlers<typeof AlphaServerReflection>;
} {
  let made: DescribedApi | undefined;
  // Encoding all descriptors takes longer than the rest of the start; few clients ever ask for them.
  const api = () => {
    made ??= describedApi(services);
    return made;
  };
  return {
    v1: {
      async *serverReflectionInfo(requests) {
        const sent = new Set<DescribedFile>();
        for await (const request of requests) {
          yield {
            validHost: request.host,
            originalRequest: request,
            messageResponse: answer(api(), request, sent),
          };
        }
      },
    },
    v1alpha: {
      async *serverReflectionInfo(requests) {
        const sent = new Set<DescribedFile>();
        for await (const request of requests) {
          yield {
            validHost: request.host,
            originalRequest: request,
            messageResponse: answer(api(), request, sent),
          };
        }
      },
    },
  };
}

interface DescribedApi {
  readonly services: readonly string[];
  readonly byPath: ReadonlyMap<string, DescribedFile>;
  readonly bySymbol: ReadonlyMap<string, DescribedFile>;
}

interface DescribedFile {
  readonly proto: FileDescriptorProto;
  readonly bytes: Uint8Array;
}

function describedApi(services: readonly DescService[]): DescribedApi {
  const byPath = new Map<string, DescribedFile>();
  const bySymbol = new Map<string, DescribedFile>();

  function add(proto: FileDescriptorProto): void {
    const file = { proto, bytes: toBinary(FileDescriptorProtoSchema, proto) };
    byPath.set(proto.name, file);
    for (const symbol of symbolsOf(proto)) bySymbol.set(symbol, file);
  }

  function addWithImports(file: DescFile): void {
    if (byPath.has(file.proto.name)) return;
    add(file.proto);
    const short = shortFamilyFile(file);
    if (short !== undefined) add(short);
    file.dependencies.forEach(addWithImports);
  }

  for (const service of services) addWithImports(service.file);
  // No method mentions these, but every failure carries them.
  addWithImports(file_google_rpc_error_details);
  return { services: services.flatMap(familyNames).toSorted(), byPath, bySymbol };
}

/** The answer to one request, with the files that the client has not been sent on this stream. */
function answer(
  api: DescribedApi,
  request: ServerReflectionRequest | AlphaRequest,
  sent: Set<DescribedFile>,
) {
  const asked = request.messageRequest;
  switch (asked.case) {
    case "listServices":
      return listed(api);
    case "fileByFilename":
      return described(api, api.byPath.get(asked.value), sent) ?? unknown(`file "${asked.value}"`);
    case "fileContainingSymbol":
      return described(api, api.bySymbol.get(asked.value), sent) ?? unknown(`symbol "${asked.value}"`);
    case "fileContainingExtension":
      // The API extends nobody's messages.
      return unknown(`extension ${asked.value.extensionNumber} of "${asked.value.containingType}"`);
    case "allExtensionNumbersOfType":
      return api.bySymbol.has(asked.value) ? unextended(asked.value) : unknown(`type "${asked.value}"`);
    case undefined:
      throw new Failure(
        "invalid_argument",
        "Cannot describe the API: the request does not say what to describe",
      );
  }
}

function listed(api: DescribedApi) {
  return {
    case: "listServicesResponse",
    value: { service: api.services.map((name) => ({ name })) },
  } as const;
}

function described(api: DescribedApi, file: DescribedFile | undefined, sent: Set<DescribedFile>) {
  if (file === undefined) return undefined;
  // What was asked for comes always, and first.
  sent.add(file);
  const files = [file];
  for (const { proto } of files) {
    for (const path of proto.dependency) {
      const imported = api.byPath.get(path);
      if (imported === undefined || sent.has(imported)) continue;
      sent.add(imported);
      files.push(imported);
    }
  }
  return {
    case: "fileDescriptorResponse",
    value: { fileDescriptorProto: files.map(({ bytes }) => bytes) },
  } as const;
}

function unextended(baseTypeName: string) {
  const extensionNumber: number[] = [];
  return { case: "allExtensionNumbersResponse", value: { baseTypeName, extensionNumber } } as const;
}

function unknown(what: string) {
  return {
    case: "errorResponse",
    value: { errorCode: STATUS_CODES.not_found, errorMessage: `Cannot describe ${what}: the API has none` },
  } as const;
}
