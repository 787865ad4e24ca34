import type { OutputChunk } from "../runtime.ts";

/** RFC 3339 with up to nine digits of a second, and the blank that the engine puts before the line. */
const STAMP = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)) /;
const STAMP_BYTES = 64;
/** The longest piece of a line that is kept in memory, in bytes. */
const MAX_LINE = 1024 * 1024;
const LINE_END = 10;

/** Takes the engine's timestamp off each chunk, which has to be a whole frame. */
export async function* stampedChunks(chunks: AsyncIterable<OutputChunk>): AsyncGenerator<OutputChunk> {
  for await (const chunk of chunks) yield unstamped(chunk);
}

/** Takes the engine's timestamp off each line of a stream without frames. */
export async function* stampedLines(source: AsyncIterable<Uint8Array>): AsyncGenerator<OutputChunk> {
  let rest: Uint8Array = new Uint8Array();
  for await (const bytes of source) {
    rest = rest.length === 0 ? bytes : Buffer.concat([rest, bytes]);
    for (let end = rest.indexOf(LINE_END); end >= 0; end = rest.indexOf(LINE_END)) {
      yield unstamped({ stream: "stdout", data: rest.subarray(0, end + 1) });
      rest = rest.subarray(end + 1);
    }
    if (rest.length < MAX_LINE) continue;
    yield unstamped({ stream: "stdout", data: rest });
    rest = new Uint8Array();
  }
  if (rest.length > 0) yield unstamped({ stream: "stdout", data: rest });
}

function unstamped(chunk: OutputChunk): OutputChunk {
  const stamp = STAMP.exec(Buffer.from(chunk.data.subarray(0, STAMP_BYTES)).toString("latin1"));
  if (stamp === null) return chunk;
  const [whole, time = ""] = stamp;
  return { stream: chunk.stream, data: chunk.data.subarray(whole.length), at: Math.floor(Date.parse(time)) };
}
