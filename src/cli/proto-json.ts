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

/** The message that the value of a flag stands for; fails as a flag's value does. */
export function messageOf<Desc extends DescMessage>(
  schema: Desc,
  value: JsonObject | undefined,
): MessageShape<Desc> {
  if (value === undefined) return create(schema);
  try {
    return fromJson(schema, value);
  } catch (error) {
    throw problem(
      `has to be the JSON of ${schema.name}: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}
