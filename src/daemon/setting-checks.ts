import type { Host } from "./setting.ts";

// The defaults and checks of single settings; those that tie several together are in setting-rules.ts.

export function dataDir({ uid, env }: Host): string | undefined {
  if (uid === 0) return "/var/lib/baaaht";
  // The XDG rules: a relative path is to be ignored.
  if (env.XDG_DATA_HOME?.startsWith("/")) return `${env.XDG_DATA_HOME}/baaaht`;
  return env.HOME?.startsWith("/") ? `${env.HOME}/.local/share/baaaht` : undefined;
}

/** A name with a blank in it would match nothing, and shut out everybody without a word. */
export function blankProblem(value: string): string | undefined {
  const hasBlank = value.split(",").some((word) => /\s/.test(word.trim()));
  return hasBlank ? "must be names with commas between them, without blanks in them" : undefined;
}

const MAX_MARKS = 16;

export function marksProblem(value: string): string | undefined {
  const must = `must be up to ${MAX_MARKS} whole numbers from 1 to 100 with commas between them, ascending`;
  if (value === "") return undefined;
  const words = value.split(",").map((word) => word.trim());
  const numbers = words.map(Number);
  const areMarks = words.every((word, at) => {
    const number = numbers[at] ?? 0;
    return /^\d{1,3}$/.test(word) && number >= 1 && number <= 100 && number > (numbers[at - 1] ?? 0);
  });
  return areMarks && words.length <= MAX_MARKS ? undefined : must;
}

/** The kernel takes 107 bytes, and the listener binds at the path with a dot and its process id before it renames. */
const MAX_SOCKET_PATH_BYTES = 107 - ".4194304".length;

export function socketPathProblem(value: string): string | undefined {
  const bytes = Buffer.byteLength(value);
  if (bytes <= MAX_SOCKET_PATH_BYTES) return undefined;
  return `must be a path of at most ${MAX_SOCKET_PATH_BYTES} bytes, and this has ${bytes}`;
}

/** Only what can't be right in any way; what the rest means is the engine adapter's to say. */
export function dockerHostProblem(value: string): string | undefined {
  if (/\s/.test(value)) return "must not have blanks";
  const scheme = /^([^:/]*):\/\//.exec(value)?.[1]?.toLowerCase();
  if (scheme === undefined || ["unix", "tcp", "http", "https"].includes(scheme)) return undefined;
  return `must be unix://, tcp://, http:// or https://; "${scheme}" is not spoken`;
}

export function pathListProblem(value: string): string | undefined {
  const wrong = value.split(":").find((path) => value !== "" && !path.startsWith("/"));
  return wrong === undefined ? undefined : `must be absolute paths with colons between them, not "${wrong}"`;
}

/** `NAME=IMAGE` or `NAME=IMAGE COMMAND`, with commas between them. */
export function tableProblem(value: string): string | undefined {
  const wrong = tableEntries(value).find((entry) => !/^[^\s=]+=\S/.test(entry));
  return wrong === undefined ? undefined : `must be NAME=IMAGE or NAME=IMAGE COMMAND, not "${wrong}"`;
}

export function tableEntries(value: string): readonly string[] {
  return value
    .split(",")
    .map((entry) => entry.trim())
    .filter((entry) => entry !== "");
}
