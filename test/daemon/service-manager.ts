import { join } from "node:path";

/** What a service manager hears on a real datagram socket; `heard` is the next message that comes. */
export async function openManager(address: string) {
  const child = Bun.spawn(["python3", join(import.meta.dir, "notify-reader.py"), address], {
    stdout: "pipe",
  });
  const lines = linesOf(child.stdout);
  const first = (await lines.next()).value;
  if (first !== "listening") throw new Error(`Cannot listen at "${address}": the reader said ${first}`);
  return {
    heard: async () => {
      const line = String((await lines.next()).value);
      const [at = "", message = ""] = [line.slice(0, line.indexOf(" ")), line.slice(line.indexOf(" ") + 1)];
      return { at: Number(at), message };
    },
    [Symbol.asyncDispose]: async () => {
      child.kill();
      await child.exited;
    },
  };
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string, undefined> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
  return undefined;
}
