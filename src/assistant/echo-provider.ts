import { pause } from "../client/backoff.ts";
import { Failure } from "../failure.ts";
import { readDuration } from "../quantity.ts";
import type { Piece, Provider, Step, ToolCall, ToolResult } from "./provider.ts";

/**
 * Gives the words of a question back, one by one, and needs nothing. A question may be a script:
 *
 * | question | what happens |
 * |---|---|
 * | `!run COMMAND` | the command runs in the sandbox; so does what stands in a fenced block of `sh` |
 * | `!python CODE` | the code runs in the sandbox; so does what stands in a fenced block of `python` |
 * | `!write PATH` and further lines | they are written to the file |
 * | `!read PATH`, `!list PATH` | the file or the folder is read |
 * | `!wait DURATION` | the answer takes that long |
 * | `!fail WORDS` | there is no answer, and these words say why |
 */
export const echoProvider: Provider = {
  about: "echo",
  model: "echo",
  readsConversation: false,
  step: (asked) => echoed(asked),
};

async function* echoed({ said, tools, signal }: Step): AsyncGenerator<Piece, void, undefined> {
  const last = said.at(-1);
  if (last?.by === "tools") {
    yield { kind: "text", text: last.results.map(shown).join("\n\n") };
    return;
  }
  const question = last?.text ?? "";
  const calls = tools.length === 0 ? [] : scripted(question);
  if (calls.length > 0) {
    for (const call of calls) yield { kind: "call", call };
    return;
  }
  const order = /^!(wait|fail)\s+(.*)$/s.exec(question);
  if (order?.[1] === "fail") throw new Failure("unknown", order[2] ?? "");
  if (order?.[1] === "wait") await pause(readDuration((order[2] ?? "").trim()) ?? 0, signal);
  for (const text of words(question)) yield { kind: "text", text };
}

/** The calls that a question asks for. */
function scripted(question: string): readonly ToolCall[] {
  const order = /^!(run|python|read|write|list)\s+(.*)$/s.exec(question);
  const rest = order?.[2] ?? "";
  switch (order?.[1]) {
    case "run":
      return [call("run_command", { command: rest.trim() })];
    case "python":
      return [call("run_python", { code: rest })];
    case "read":
      return [call("read_file", { path: rest.trim() })];
    case "list":
      return [call("list_files", { path: rest.trim() })];
    case "write": {
      const [path = "", ...lines] = rest.split("\n");
      return [call("write_file", { path: path.trim(), content: lines.join("\n") })];
    }
    default:
      return fenced(question);
  }
}

function fenced(question: string): readonly ToolCall[] {
  const blocks = question.matchAll(/^```(python|py|sh|bash|shell)[ \t]*\n(.*?)^```[ \t]*$/gms);
  return [...blocks].map(([, language = "", code = ""]) =>
    language.startsWith("py") ? call("run_python", { code }) : call("run_command", { command: code }),
  );
}

function call(name: string, input: Record<string, string>): ToolCall {
  return { id: `call-${Bun.randomUUIDv7()}`, name, input };
}

/** A tool's result as Markdown, in a fence that nothing in it ends. */
function shown({ name, text }: ToolResult): string {
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map(([ticks]) => ticks.length));
  const fence = "`".repeat(longest + 1);
  return `\`${name}\` says:\n\n${fence}\n${text.replace(/\n$/, "")}\n${fence}`;
}

/** Each word with the space behind it; together they are the text again. */
function words(text: string): readonly string[] {
  return text.match(/\s*\S+\s*?(?=\s|$)|\s+$/g) ?? (text === "" ? [] : [text]);
}
