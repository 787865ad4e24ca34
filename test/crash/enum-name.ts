import type { DescEnum } from "@bufbuild/protobuf";

/** The name of an enum's value in lower case and without its prefix, such as `running`. */
export function enumName(schema: DescEnum, value: number): string {
  return schema.value[value]?.localName.toLowerCase() ?? String(value);
}
