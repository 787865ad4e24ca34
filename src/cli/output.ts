import type { JsonValue } from "@bufbuild/protobuf";
import type { Cell } from "./cell.ts";
import { choice, type Flags, type FlagValues, toggle, withDefault } from "./flag.ts";
import type { Output, Shell } from "./shell.ts";
import { type Column, details, type TableStyle, table } from "./table.ts";
import type { TimeStyle } from "./words.ts";

export const FORMATS = ["table", "json", "jsonl", "yaml"] as const;
export type Format = (typeof FORMATS)[number];

/** What every command that prints something understands. */
export const outputFlags = {
  output: withDefault(
    choice({
      about: "how answers and errors are written",
      short: "o",
      choices: FORMATS,
      placeholder: "FORMAT",
    }),
    "table",
  ),
  noHeaders: toggle({ about: "leave out the titles of a table's columns" }),
  quiet: toggle({ about: "print ids only", short: "q" }),
  verbose: toggle({ about: "say more: with an error its code, reason and correlation id", short: "v" }),
} satisfies Flags;

/** One thing that is printed as a whole. */
export interface Record {
  /** As JSON and YAML have it. */
  readonly value: () => JsonValue;
  /** What `--quiet` prints. */
  readonly id: string;
  /** As a person reads it. */
  readonly rows: () => readonly (readonly [label: string, value: Cell])[];
}

interface List<Item> {
  readonly items: readonly Item[];
  /** The answer as a whole. */
  readonly value: () => JsonValue;
  /** One of its items, for a line of JSON. */
  readonly itemValue: (item: Item) => JsonValue;
  readonly id: (item: Item) => string;
  readonly columns: readonly Column<Item>[];
}

/** One of many things that come one after the other, without an end that is known. */
export interface Entry {
  readonly value: () => JsonValue;
  readonly id: string;
  /** A line, without its end. */
  readonly line: () => string;
}

/** Writes answers in the format that was asked for. */
export interface Printer {
  readonly record: (record: Record) => Promise<void>;
  readonly list: <Item>(list: List<Item>) => Promise<void>;
  readonly entry: (entry: Entry) => Promise<void>;
  readonly times: TimeStyle;
  readonly style: TableStyle;
}

export function printer(shell: Shell, flags: FlagValues<typeof outputFlags>): Printer {
  const { out } = shell;
  const style: TableStyle = {
    headers: !flags.noHeaders,
    colours: hasColours(out, shell.env),
    width: out.size()?.columns,
  };
  const write = (text: string): Promise<void> => (text === "" ? Promise.resolve() : out.write(text));
  return {
    style,
    times: { now: shell.now(), relative: out.isTerminal },
    record: async (record) => {
      if (flags.quiet) return await write(`${record.id}\n`);
      if (flags.output === "table") return await write(details(record.rows(), style));
      await write(await serialised(record.value(), flags.output));
    },
    list: async ({ items, value, itemValue, id, columns }) => {
      if (flags.quiet) return await write(items.map((item) => `${id(item)}\n`).join(""));
      if (flags.output === "table") return await write(table(items, { columns, style }));
      if (flags.output === "jsonl")
        return await write(items.map((item) => `${JSON.stringify(itemValue(item))}\n`).join(""));
      await write(await serialised(value(), flags.output));
    },
    entry: async (entry) => {
      if (flags.quiet) return await write(`${entry.id}\n`);
      if (flags.output === "table") return await write(`${entry.line()}\n`);
      const separator = flags.output === "yaml" ? "---\n" : "";
      await write(separator + (await serialised(entry.value(), flags.output)));
    },
  };
}

/** A value in one of the formats for programs, with its last line's end. */
export async function serialised(value: JsonValue, format: Exclude<Format, "table">): Promise<string> {
  switch (format) {
    case "json":
      return `${JSON.stringify(value, null, 2)}\n`;
    case "jsonl":
      return `${JSON.stringify(value)}\n`;
    case "yaml": {
      const { stringify } = await import("yaml");
      // Quoted, so that no reader of any version of YAML takes a text for a time, a number or a truth value.
      return stringify(value, {
        version: "1.1",
        lineWidth: 0,
        defaultStringType: "QUOTE_DOUBLE",
        defaultKeyType: "PLAIN",
      });
    }
  }
}

/** https://no-color.org: set and not empty means none. */
export function hasColours(output: Output, env: Shell["env"]): boolean {
  const forbidden = env.NO_COLOR !== undefined && env.NO_COLOR !== "";
  return output.isTerminal && !forbidden && env.TERM !== "dumb";
}
