import { readFileSync, statSync } from "node:fs";
import { parse, TomlError } from "smol-toml";
import type { Host } from "./setting.ts";

/** Far more than every setting with comments; a file above this is something else. */
const MAX_FILE_BYTES = 1_048_576;

/** What stands in a file: a leaf, or a section without any. `line` counts from 1 and is absent where it can't be had. */
export interface FileEntry {
  readonly name: string;
  readonly value: unknown;
  readonly line: number | undefined;
}

/** Where a configuration is looked for when nobody names one; undefined when this host gives no place. */
export function defaultConfigPath({ uid, env }: Host): string | undefined {
  if (uid === 0) return "/etc/baaaht/config.toml";
  if (env.XDG_CONFIG_HOME?.startsWith("/")) return `${env.XDG_CONFIG_HOME}/baaaht/config.toml`;
  return env.HOME?.startsWith("/") ? `${env.HOME}/.config/baaaht/config.toml` : undefined;
}

/** The file's text; undefined when there is none. Throws, in words for a person, when there is one that can't be read. */
export function readConfigFile(path: string): string | undefined {
  try {
    const { size } = statSync(path);
    if (size > MAX_FILE_BYTES) throw new Error(`it has ${size} bytes, more than ${MAX_FILE_BYTES}`);
    return readFileSync(path, "utf8");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    switch (code) {
      case "ENOENT":
      case "ENOTDIR":
        return undefined;
      case "EACCES":
        throw new Error("it may not be read by this user", { cause: error });
      case "EISDIR":
        throw new Error("it is a folder", { cause: error });
      default:
        throw error;
    }
  }
}

/** All entries of a TOML text, or why it is not TOML and where. */
export function parseConfigFile(
  text: string,
): readonly FileEntry[] | { readonly problem: string; readonly line: number } {
  try {
    const lines = linesOf(text);
    return leaves(parse(text), []).map(({ path, value }) => {
      const name = path.join(".");
      return { name, value, line: lineOf(lines, path) };
    });
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const [problem = "it is not TOML"] = error.message.replace("Invalid TOML document: ", "").split("\n");
    return { problem, line: error.line };
  }
}

function leaves(
  table: object,
  above: readonly string[],
): readonly { path: readonly string[]; value: unknown }[] {
  return Object.entries(table).flatMap(([key, value]: [string, unknown]) => {
    const path = [...above, key];
    return isTable(value) && Object.keys(value).length > 0 ? leaves(value, path) : [{ path, value }];
  });
}

export function isTable(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

/**
 * The lines on which keys and sections begin. The parser does not tell; this reads the forms that people write in a
 * configuration (`[section]`, `key = …`, `section.key = …`), and what it can't place has no line.
 */
function linesOf(text: string): ReadonlyMap<string, number> {
  const lines = new Map<string, number>();
  let section: readonly string[] = [];
  for (const [index, line] of text.split("\n").entries()) {
    const header = /^\s*\[{1,2}([^[\]]+)\]/.exec(line)?.[1];
    const key = /^\s*([A-Za-z0-9_."' -]+?)\s*=/.exec(line)?.[1];
    if (header !== undefined) section = parts(header);
    const path = header !== undefined ? section : key !== undefined ? [...section, ...parts(key)] : undefined;
    if (path !== undefined && !lines.has(path.join("."))) lines.set(path.join("."), index + 1);
  }
  return lines;
}

/** The line of the entry, or of the nearest thing around it that has one. */
function lineOf(lines: ReadonlyMap<string, number>, path: readonly string[]): number | undefined {
  for (let length = path.length; length > 0; length--) {
    const line = lines.get(path.slice(0, length).join("."));
    if (line !== undefined) return line;
  }
  return undefined;
}

function parts(dotted: string): readonly string[] {
  return dotted.split(".").map((part) => part.trim().replace(/^(["'])(.*)\1$/, "$2"));
}
