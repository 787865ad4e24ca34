import { invalid } from "../../failure.ts";

/** How an operation on files is done in a container. */
export interface FileCommand {
  /** undefined: the server is asked instead. */
  readonly command: readonly string[] | undefined;
  /** Whether the task's input goes into the file. */
  readonly takesInput: boolean;
  /** Whether it changes something. */
  readonly writes: boolean;
}

/** By operation: how many paths it takes, and what is run with them. `$1` is the path. */
const OPERATIONS: Readonly<
  Record<
    string,
    Omit<FileCommand, "command"> & { readonly paths: 1 | 2; readonly words: readonly string[] | undefined }
  >
> = {
  read: { paths: 1, words: ["cat", "--"], takesInput: false, writes: false },
  list: { paths: 1, words: ["ls", "-lA", "--"], takesInput: false, writes: false },
  stat: { paths: 1, words: undefined, takesInput: false, writes: false },
  write: { paths: 1, words: into(">"), takesInput: true, writes: true },
  append: { paths: 1, words: into(">>"), takesInput: true, writes: true },
  mkdir: { paths: 1, words: ["mkdir", "-p", "--"], takesInput: false, writes: true },
  delete: { paths: 1, words: ["rm", "-r", "--"], takesInput: false, writes: true },
  copy: { paths: 2, words: ["cp", "-R", "--"], takesInput: false, writes: true },
  move: { paths: 2, words: ["mv", "--"], takesInput: false, writes: true },
};

/**
 * What does `operation` on `paths`.
 *
 * Failures: INVALID_ARGUMENT when there is no such operation, or the paths are too few or too many.
 */
export function fileCommand(operation: string, paths: readonly string[]): FileCommand {
  const found = Object.hasOwn(OPERATIONS, operation) ? OPERATIONS[operation] : undefined;
  if (found === undefined) {
    const names = Object.keys(OPERATIONS).join(", ");
    const description = `has to be one of ${names}, not "${operation}"`;
    throw invalid("do the task", [{ field: "config.command", description }]);
  }
  const { words, takesInput, writes } = found;
  if (paths.length !== found.paths || paths.includes("")) {
    const wanted = found.paths === 1 ? "one path" : "two paths, from and to";
    const description = `have to be ${wanted} for ${operation}, not ${paths.length} words`;
    throw invalid("do the task", [{ field: "config.arguments", description }]);
  }
  return { command: words && [...words, ...paths], takesInput, writes };
}

/** Puts stdin into a file, and makes the folders above it. */
function into(redirection: ">" | ">>"): readonly string[] {
  return ["sh", "-c", `mkdir -p -- "$(dirname -- "$1")" && cat ${redirection} "$1"`, "sh"];
}
