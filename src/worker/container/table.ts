import { invalid } from "../../failure.ts";

/** What a program in a language is run with. */
export interface Language {
  readonly image: string;
  /** The interpreter and its words; the program's file comes behind them. */
  readonly command: readonly string[];
  /** What the program's file is called. */
  readonly file: string;
}

/** A program that tasks name and do not bring. */
interface Tool {
  readonly image: string;
  /** Its words; those of the task come behind them. */
  readonly command: readonly string[];
}

/** Which image a task is done in, and with which words. */
export interface Table {
  readonly languages: Readonly<Record<string, Language>>;
  readonly tools: Readonly<Record<string, Tool>>;
  /** For commands that are no language's. */
  readonly image: string;
}

const BUSYBOX = "busybox:1";

export const DEFAULT_TABLE: Table = {
  languages: {
    python: { image: "python:3.11-slim", command: ["python3", "-u"], file: "main.py" },
    javascript: { image: "node:22-slim", command: ["node"], file: "main.js" },
    typescript: { image: "oven/bun:1-slim", command: ["bun", "run"], file: "main.ts" },
    sh: { image: BUSYBOX, command: ["sh"], file: "main.sh" },
    bash: { image: "bash:5", command: ["bash"], file: "main.sh" },
    ruby: { image: "ruby:3-slim", command: ["ruby"], file: "main.rb" },
    perl: { image: "perl:5-slim", command: ["perl"], file: "main.pl" },
    php: { image: "php:8-cli", command: ["php"], file: "main.php" },
  },
  tools: Object.fromEntries(
    [
      "awk",
      "base64",
      "cut",
      "grep",
      "head",
      "md5sum",
      "sed",
      "sha256sum",
      "sort",
      "tail",
      "tr",
      "uniq",
      "wc",
    ].map((name) => [name, { image: BUSYBOX, command: [name] }]),
  ),
  image: BUSYBOX,
};

/** Other words for languages, and the interpreters that a command may name. */
const ALSO: Readonly<Record<string, string>> = {
  py: "python",
  python3: "python",
  pip: "python",
  js: "javascript",
  node: "javascript",
  npm: "javascript",
  ts: "typescript",
  bun: "typescript",
  shell: "sh",
};

/** The language of that name, or of that interpreter. */
export function languageOf({ languages }: Table, name: string): Language | undefined {
  const found = Object.hasOwn(languages, name) ? name : Object.hasOwn(ALSO, name) ? ALSO[name] : undefined;
  return found === undefined ? undefined : languages[found];
}

/** What a person may put into the table: `NAME` to `IMAGE` or `IMAGE WORD…`. */
export interface TableChanges {
  readonly languages: Readonly<Record<string, string>>;
  readonly tools: Readonly<Record<string, string>>;
  readonly image: string | undefined;
}

/**
 * The table with changes.
 *
 * Failures: INVALID_ARGUMENT for a new language or tool without words, or without an image.
 *
 * @example
 * tableWith(DEFAULT_TABLE, { languages: { python: "python:3.13", lua: "nickblah/lua:5.4 lua" }, tools: {}, image: undefined });
 */
export function tableWith(table: Table, changes: TableChanges): Table {
  const languages = Object.entries(changes.languages).map(([name, text]) => {
    const before = languageOf(table, name);
    const { image, command } = entryOf(text, { field: `language ${name}`, before: before?.command });
    return [name, { image, command, file: before?.file ?? "main" }] as const;
  });
  const tools = Object.entries(changes.tools).map(([name, text]) => {
    const before = Object.hasOwn(table.tools, name) ? table.tools[name]?.command : undefined;
    return [name, entryOf(text, { field: `tool ${name}`, before })] as const;
  });
  return {
    languages: { ...table.languages, ...Object.fromEntries(languages) },
    tools: { ...table.tools, ...Object.fromEntries(tools) },
    image: changes.image ?? table.image,
  };
}

function entryOf(
  text: string,
  { field, before }: { readonly field: string; readonly before: readonly string[] | undefined },
): Tool {
  const [image, ...words] = text.split(" ").filter((word) => word !== "");
  const command = words.length > 0 ? words : before;
  if (image === undefined || command === undefined) {
    const description = "has to be an image and, for a new one, the words behind it: IMAGE COMMAND…";
    throw invalid("set up the worker", [{ field, description }]);
  }
  return { image, command };
}
