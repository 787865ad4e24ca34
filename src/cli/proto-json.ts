import {
  create,
  type DescMessage,
  fromJson,
  type JsonObject,
  type JsonValue,
  type MessageInitShape,
  type MessageShape,
  toJson,
} from "@bufbuild/protobuf";
import { problem } from "./flag.ts";

/** A message as the API's own JSON has it: lowerCamelCase names, and fields also where they are zero or empty. */
export function jsonOf<Desc extends DescMessage>(schema: Desc, message: MessageInitShape<Desc>): JsonValue {
  return toJson(schema, create(schema, message), { alwaysEmitImplicit: true });
}

/** The message that the value of the flag `--config` stands for; fails as a flag's value does. */
export function configMessage<Desc extends DescMessage>(
  schema: Desc,
  value: JsonObject | undefined,
): MessageShape<Desc> {
  if (value === undefined) return create(schema);
  try {
    return fromJson(schema, value);
  } catch (error) {
    throw problem(`--config has to be the JSON of ${schema.name}: ${mistakeText(error, schema.name)}`);
  }
}

/** `cannot decode field proto.common.v1.ResourceLimits.memory_bytes from JSON: expected …` without what is plain here. */
function mistakeText(error: unknown, name: string): string {
  const text = error instanceof Error ? error.message : String(error);
  return text
    .replace(/^cannot decode (?:field|message) proto\.(?:\w+\.)*?v\d+\.(\S+) from JSON:/, "$1:")
    .replaceAll(/proto\.\w+\.v\d+\./g, "")
    .replace(`${name}: `, "");
}
