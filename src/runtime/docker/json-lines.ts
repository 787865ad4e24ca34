import type { ZodType } from "zod";

/** The longest line that is kept, in characters: one event or one step of a pull is far below it. */
const MAX_LINE = 1024 * 1024;

/** The values of a stream that carries one JSON value a line. Lines that `schema` doesn't know are left out. */
export async function* jsonLines<Value>(
  source: AsyncIterable<Uint8Array>,
  schema: ZodType<Value>,
): AsyncGenerator<Value> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const bytes of source) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
    rest = (lines.pop() ?? "").slice(0, MAX_LINE);
    for (const line of lines) {
      const read = parse(line, schema);
      if (read !== undefined) yield read;
    }
  }
  const last = parse(rest, schema);
  if (last !== undefined) yield last;
}

function parse<Value>(line: string, schema: ZodType<Value>): Value | undefined {
  if (line.trim() === "") return undefined;
  try {
    return schema.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined;
  }
}
