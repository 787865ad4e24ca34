import type { JsonObject } from "@bufbuild/protobuf";
import { z } from "zod";
import { Failure } from "../failure.ts";
import type { ToolCall, ToolDeclaration } from "./provider.ts";
import type { Ran, Sandbox } from "./sandbox.ts";

/** What a call has come to, in words for the model. */
export interface ToolOutcome {
  readonly text: string;
  readonly isFailure: boolean;
  /** Where it ran; empty when it did not come to that. */
  readonly containerId: string;
}

/** What models are told of the tools. */
export function toolDeclarations(): readonly ToolDeclaration[] {
  declarations ??= tools.map(({ name, about, input }) => ({ name, about, input: schemaOf(input) }));
  return declarations;
}

let declarations: readonly ToolDeclaration[] | undefined;

/**
 * Does what a model asks for. What goes wrong is told to it as the call's result, so that it can try another way; only
 * the end of the turn is thrown.
 */
export async function runTool(
  call: ToolCall,
  { sandbox, signal }: { readonly sandbox: Sandbox; readonly signal: AbortSignal },
): Promise<ToolOutcome> {
  const tool = tools.find(({ name }) => name === call.name);
  if (tool === undefined) {
    const names = tools.map(({ name }) => name).join(", ");
    return failed(`Cannot call the tool "${call.name}": there is none with this name; there are ${names}`);
  }
  const input = tool.input.safeParse(call.input);
  if (!input.success) {
    const text = typeof call.input === "string" ? "; it was not even JSON" : "";
    return failed(`Cannot call the tool "${call.name}": its input is wrong: ${mistakes(input.error)}${text}`);
  }
  try {
    return await tool.run(input.data, sandbox, signal);
  } catch (error) {
    const failure = Failure.from(error);
    if (failure === undefined || signal.aborted) throw error;
    return failed(failure.message);
  }
}

interface Tool {
  readonly name: string;
  readonly about: string;
  readonly input: z.ZodType;
  run(input: unknown, sandbox: Sandbox, signal: AbortSignal): Promise<ToolOutcome>;
}

/** Of its input only the tool itself knows the type. */
function tool<Input extends z.ZodType>(declared: {
  readonly name: string;
  readonly about: string;
  readonly input: Input;
  readonly run: (input: z.infer<Input>, sandbox: Sandbox, signal: AbortSignal) => Promise<ToolOutcome>;
}): Tool {
  const { input, run, ...rest } = declared;
  return { ...rest, input, run: async (given, sandbox, signal) => run(input.parse(given), sandbox, signal) };
}

const path = z
  .string()
  .min(1)
  .max(4_096)
  .describe("Where; what does not begin with / is meant from /workspace.");

const tools: readonly Tool[] = [
  tool({
    name: "run_command",
    about:
      "Runs a shell command in the sandbox, a Linux container that keeps its files for the whole conversation. Gives its output and exit code.",
    input: z.strictObject({ command: z.string().min(1).describe("For /bin/sh.") }),
    // Both outputs in one, so that they come in the order in which they were written.
    run: async ({ command }, sandbox, signal) =>
      outcome(await sandbox.run({ command: ["/bin/sh", "-c", `exec 2>&1; ${command}`], signal })),
  }),
  tool({
    name: "run_python",
    about: "Runs a Python program in the sandbox. Gives what it prints and its exit code.",
    input: z.strictObject({ code: z.string().min(1).describe("The whole program.") }),
    run: async ({ code }, sandbox, signal) =>
      outcome(await sandbox.run({ command: ["python3", "-"], input: code, signal })),
  }),
  tool({
    name: "read_file",
    about: "Reads a text file in the sandbox.",
    input: z.strictObject({ path }),
    run: async ({ path: file }, sandbox, signal) =>
      content(await sandbox.run({ command: ["cat", "--", file], signal })),
  }),
  tool({
    name: "write_file",
    about:
      "Writes a text file in the sandbox, in place of what was there. Folders that are missing are made.",
    input: z.strictObject({ path, content: z.string().describe("All that will be in it.") }),
    run: async ({ path: file, content: text }, sandbox, signal) => {
      const script = 'mkdir -p -- "$(dirname -- "$1")" && cat > "$1"';
      const ran = await sandbox.run({ command: ["/bin/sh", "-c", script, "sh", file], input: text, signal });
      const done = `Wrote ${Buffer.byteLength(text)} bytes.`;
      return hasWorked(ran) ? { ...outcome(ran), text: done } : outcome(ran);
    },
  }),
  tool({
    name: "list_files",
    about: "Lists a folder in the sandbox.",
    input: z.strictObject({ path: path.default(".") }),
    run: async ({ path: folder }, sandbox, signal) =>
      content(await sandbox.run({ command: ["ls", "-la", "--", folder], signal })),
  }),
];

function hasWorked({ end }: Ran): boolean {
  return end.how === "exited" && end.code === 0;
}

/** What was read, and nothing else, when it could be. */
function content(ran: Ran): ToolOutcome {
  if (!hasWorked(ran)) return outcome(ran);
  return { text: ran.output + cutWords(ran), isFailure: false, containerId: ran.containerId };
}

function outcome(ran: Ran): ToolOutcome {
  const { output, containerId } = ran;
  const newline = output === "" || output.endsWith("\n") ? "" : "\n";
  return {
    text: `${output}${cutWords(ran)}${newline}[${endWords(ran)}]`,
    isFailure: !hasWorked(ran),
    containerId,
  };
}

function cutWords({ outputBytes, keptBytes }: Ran): string {
  return outputBytes > keptBytes ? `\n[output cut here: ${keptBytes} of ${outputBytes} bytes]\n` : "";
}

function endWords({ end }: Ran): string {
  switch (end.how) {
    case "exited":
      return `exit code ${end.code}`;
    case "signalled":
      return `killed by signal ${end.signal}`;
    case "timed_out":
      return `killed: its ${end.afterMs / 1000} s were over`;
    case "unknown":
      return `how it ended is not known: ${end.reason}`;
  }
}

function failed(text: string): ToolOutcome {
  return { text, isFailure: true, containerId: "" };
}

function mistakes({ issues }: z.ZodError): string {
  return issues
    .map(({ path: at, message }) => [at.join("."), message].filter((part) => part !== "").join(": "))
    .join("; ");
}

function schemaOf(input: z.ZodType): JsonObject {
  const { $schema: _, ...schema } = z.toJSONSchema(input, { io: "input" });
  // What zod makes of it is JSON.
  return schema as JsonObject;
}
