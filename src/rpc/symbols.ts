import type { DescriptorProto, EnumDescriptorProto, FileDescriptorProto } from "@bufbuild/protobuf/wkt";

/** The full name of all that a file declares: messages, fields, oneofs, enums, their values, services, methods, extensions. */
export function* symbolsOf(file: FileDescriptorProto): Generator<string> {
  const scope = file.package === "" ? "" : `${file.package}.`;
  for (const message of file.messageType) yield* ofMessage(message, scope);
  for (const declared of file.enumType) yield* ofEnum(declared, scope);
  for (const extension of file.extension) yield scope + extension.name;
  for (const service of file.service) {
    yield scope + service.name;
    for (const method of service.method) yield `${scope}${service.name}.${method.name}`;
  }
}

function* ofMessage(message: DescriptorProto, scope: string): Generator<string> {
  yield scope + message.name;
  const inner = `${scope}${message.name}.`;
  for (const field of [...message.field, ...message.oneofDecl, ...message.extension])
    yield inner + field.name;
  for (const nested of message.nestedType) yield* ofMessage(nested, inner);
  for (const nested of message.enumType) yield* ofEnum(nested, inner);
}

/** An enum's values are named beside the enum, not inside of it. */
function* ofEnum(declared: EnumDescriptorProto, scope: string): Generator<string> {
  yield scope + declared.name;
  for (const value of declared.value) yield scope + value.name;
}
