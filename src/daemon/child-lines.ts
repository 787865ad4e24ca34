/** Longer lines are cut; nobody can make the server keep more. In UTF-16 units. */
const MAX_LINE = 4_096;

/** What a child process writes, line by line, without their ends. */
export async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    // What is over the length of a line that has not ended is dropped here, so that it does not pile up.
    rest = cut(lines.pop() ?? "");
    for (const line of lines) yield cut(line);
  }
  if (rest !== "") yield cut(rest);
}

function cut(line: string): string {
  return line.length > MAX_LINE ? line.slice(0, MAX_LINE) : line;
}
