import { clone, type DescFile, type DescService } from "@bufbuild/protobuf";
import {
  type DescriptorProto,
  type FieldDescriptorProto,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
} from "@bufbuild/protobuf/wkt";

/**
 * The names under which a service is served: its own, and for ours the one without `proto.`, which clients that were
 * built before this server call it by.
 *
 * @example
 * familyNames(OrchestratorService); // ["proto.orchestrator.v1.OrchestratorService", "orchestrator.v1.OrchestratorService"]
 */
export function familyNames(service: DescService): readonly string[] {
  const short = withoutPrefix(service.typeName, PACKAGE_PREFIX);
  return short === service.typeName ? [short] : [service.typeName, short];
}

/** A file as the family without `proto.` has it: same messages and services, other names; undefined for foreign files. */
export function shortFamilyFile(file: DescFile): FileDescriptorProto | undefined {
  if (!file.proto.package.startsWith(PACKAGE_PREFIX)) return undefined;
  const short = clone(FileDescriptorProtoSchema, file.proto);
  short.name = withoutPrefix(short.name, PATH_PREFIX);
  short.package = withoutPrefix(short.package, PACKAGE_PREFIX);
  short.dependency = short.dependency.map((path) => withoutPrefix(path, PATH_PREFIX));
  for (const message of short.messageType) renameIn(message);
  for (const extension of short.extension) rename(extension);
  for (const service of short.service) {
    for (const method of service.method) {
      method.inputType = withoutReferencePrefix(method.inputType);
      method.outputType = withoutReferencePrefix(method.outputType);
    }
  }
  return short;
}

const PACKAGE_PREFIX = "proto.";
const PATH_PREFIX = "proto/";

function renameIn(message: DescriptorProto): void {
  for (const field of message.field) rename(field);
  for (const extension of message.extension) rename(extension);
  for (const nested of message.nestedType) renameIn(nested);
}

function rename(field: FieldDescriptorProto): void {
  // Setting an empty name would still be naming one.
  if (field.typeName !== "") field.typeName = withoutReferencePrefix(field.typeName);
  if (field.extendee !== "") field.extendee = withoutReferencePrefix(field.extendee);
}

/** References are fully qualified, which a leading dot says. */
function withoutReferencePrefix(reference: string): string {
  return reference.startsWith(`.${PACKAGE_PREFIX}`)
    ? `.${reference.slice(1 + PACKAGE_PREFIX.length)}`
    : reference;
}

function withoutPrefix(name: string, prefix: string): string {
  return name.startsWith(prefix) ? name.slice(prefix.length) : name;
}
