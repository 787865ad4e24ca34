import { parseScript, type Statement, type Word } from "./fake-script.ts";

/** What a program sees of the world around it. */
export interface ShellWorld {
  readonly env: Readonly<Record<string, string>>;
  readonly workingDir: string;
  readonly user: string;
  readonly write: (stream: "stdout" | "stderr", data: Uint8Array) => Promise<void>;
  /** Whether a program that wants all memory is killed for it. */
  readonly outOfMemory: () => boolean;
  /** Makes an empty file. */
  readonly touch: (path: string) => void;
  /** The next bytes of stdin, `undefined` at its end. */
  readonly read: () => Promise<Uint8Array | undefined>;
  readonly unread: (data: Uint8Array) => void;
  readonly size: () => { readonly columns: number; readonly rows: number } | undefined;
  readonly sleep: (ms: number) => Promise<void>;
  readonly trap: (signalName: string, script: string) => void;
  /** Waits while the process is stopped, ends it when it was killed, and gives the traps that are due. */
  readonly checkpoint: () => Promise<readonly string[]>;
}

const PROGRAMS = [
  "sh",
  "true",
  "false",
  ":",
  "echo",
  "printf",
  "cat",
  "sleep",
  "pwd",
  "id",
  "seq",
  "yes",
  "stty",
  "printenv",
  "touch",
  "tail",
  "env",
];

/** Whether there is a program of this name. */
export function knows(program: string): boolean {
  return PROGRAMS.includes(program.replace(/^(\/usr)?\/bin\//, ""));
}

/** Runs a program to its end and gives its exit code. */
export async function runProgram(argv: readonly string[], world: ShellWorld): Promise<number> {
  const [program = "", ...args] = argv;
  if (program.endsWith("sh") && args[0] === "-c") {
    return await runScript(args[1] ?? "", { world, args: args.slice(2), variables: { ...world.env } });
  }
  return await runSimple([program.replace(/^.*\//, ""), ...args], world, "stdout");
}

interface Shell {
  readonly world: ShellWorld;
  /** `$0` and what follows. */
  readonly args: readonly string[];
  readonly variables: Record<string, string>;
}

class Exit {
  readonly code: number;
  constructor(code: number) {
    this.code = code;
  }
}

async function runScript(script: string, shell: Shell): Promise<number> {
  try {
    return await runStatements(parseScript(script), shell);
  } catch (thrown) {
    if (thrown instanceof Exit) return thrown.code;
    throw thrown;
  }
}

async function runStatements(statements: readonly Statement[], shell: Shell): Promise<number> {
  let code = 0;
  for (const statement of statements) {
    await runTraps(shell);
    if (statement.kind === "command") {
      code = await runCommand(statement, shell);
      shell.variables["?"] = String(code);
    } else {
      while ((await runStatements(statement.condition, shell)) === 0)
        await runStatements(statement.body, shell);
    }
  }
  await runTraps(shell);
  return code;
}

async function runTraps(shell: Shell): Promise<void> {
  for (const script of await shell.world.checkpoint()) await runStatements(parseScript(script), shell);
}

async function runCommand(statement: Extract<Statement, { kind: "command" }>, shell: Shell): Promise<number> {
  const argv = statement.words.map((word) => expand(word, shell));
  const [program, ...args] = argv;
  switch (program) {
    case undefined:
      return 0;
    case "exit":
      throw new Exit(Number(args[0] ?? shell.variables["?"] ?? "0"));
    case "trap":
      for (const name of args.slice(1)) shell.world.trap(name, args[0] ?? "");
      return 0;
    case "read":
      return await readLine(shell, args[0] ?? "REPLY");
    default:
      return await runSimple(argv, shell.world, statement.toStderr ? "stderr" : "stdout");
  }
}

function expand(word: Word, { args, variables }: Shell): string {
  const value = (name: string): string => (/^\d$/.test(name) ? args[Number(name)] : variables[name]) ?? "";
  return word.map((part) => ("text" in part ? part.text : value(part.variable))).join("");
}

async function readLine(shell: Shell, variable: string): Promise<number> {
  let line = "";
  for (;;) {
    const bytes = await shell.world.read();
    if (bytes === undefined) return 1;
    const end = bytes.indexOf(10);
    line += Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString();
    if (end < 0) continue;
    shell.world.unread(bytes.subarray(end + 1));
    shell.variables[variable] = line;
    return 0;
  }
}

async function runSimple(
  argv: readonly string[],
  world: ShellWorld,
  stream: "stdout" | "stderr",
): Promise<number> {
  const [program = "", ...args] = argv;
  const say = async (line: string): Promise<number> => {
    await world.write(stream, Buffer.from(`${line}\n`));
    return 0;
  };
  switch (program) {
    case "true":
    case ":":
      return 0;
    case "false":
      return 1;
    case "echo":
      return await say(args.join(" "));
    case "printf":
      await world.write(stream, unescaped(args[0] ?? ""));
      return 0;
    case "cat":
      for (let data = await world.read(); data !== undefined; data = await world.read())
        await world.write(stream, data);
      return 0;
    case "sleep":
      await world.sleep(Number(args[0] ?? "0") * 1000);
      return 0;
    case "pwd":
      return await say(world.workingDir);
    case "id":
      return await say(
        world.user === "app" ? "1000" : world.user === "" || world.user === "root" ? "0" : world.user,
      );
    case "seq":
      return await seq(Number(args[0]), Number(args[1]), (text) => world.write(stream, text));
    case "yes":
      for (;;) await world.write(stream, Buffer.from(`${args[0] ?? "y"}\n`.repeat(4096)));
    case "stty": {
      const size = world.size();
      return size === undefined ? 1 : await say(`${size.rows} ${size.columns}`);
    }
    case "printenv":
      return world.env[args[0] ?? ""] === undefined ? 1 : await say(world.env[args[0] ?? ""] ?? "");
    case "tail": // of /dev/zero alone: it keeps all that it reads for a line's end that never comes
      return world.outOfMemory() ? 137 : 1;
    case "touch":
      world.touch(args[0] ?? "");
      return 0;
    case "env":
      for (const [name, value] of Object.entries(world.env)) await say(`${name}=${value}`);
      return 0;
    default:
      await world.write("stderr", Buffer.from(`sh: ${program}: not found\n`));
      return 127;
  }
}

async function seq(from: number, to: number, write: (data: Uint8Array) => Promise<void>): Promise<number> {
  const lines = Array.from({ length: Math.max(0, to - from + 1) }, (_, n) => `${from + n}\n`);
  await write(Buffer.from(lines.join("")));
  return 0;
}

function unescaped(format: string): Uint8Array {
  const bytes = format.replace(/\\(n|[0-7]{3})/g, (_, what: string) =>
    what === "n" ? "\n" : String.fromCharCode(Number.parseInt(what, 8)),
  );
  return Buffer.from(bytes, "latin1");
}
