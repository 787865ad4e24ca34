/** A piece of a table: its text, and how it should feel where there are colours. */
export interface Cell {
  readonly text: string;
  readonly tone: Tone;
}

export type Tone = "plain" | "good" | "bad" | "warning" | "faint" | "strong";

export function cell(text: string, tone: Tone = "plain"): Cell {
  return { text: printable(text), tone };
}

/** The cell as the terminal gets it. */
export function painted({ text, tone }: Cell, { colours }: { readonly colours: boolean }): string {
  const code = COLOURS[tone];
  return !colours || code === undefined || text.trim() === "" ? text : `\u001b[${code}m${text}\u001b[0m`;
}

/**
 * The text without anything that a terminal would obey: names, messages and events come from programs that are not
 * trusted, and must not move the cursor or retitle the window of whoever lists them.
 */
export function printable(text: string): string {
  return text.toWellFormed().replace(OBEYED, (character) => {
    const short = SHORT_ESCAPES.get(character);
    return short ?? `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`;
  });
}

/** Control characters, line separators, and what turns the direction of writing. */
const OBEYED = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu;

/** How a state feels; the words are those of all the API's state and status enums. */
export function stateCell(word: string): Cell {
  return cell(word, TONES.get(word) ?? "plain");
}

const COLOURS: Readonly<Record<Tone, string | undefined>> = {
  plain: undefined,
  good: "32",
  bad: "31",
  warning: "33",
  faint: "2",
  strong: "1",
};

const SHORT_ESCAPES = new Map([
  ["\n", "\\n"],
  ["\r", "\\r"],
  ["\t", "\\t"],
]);

const TONES = new Map<string, Tone>([
  ["active", "good"],
  ["running", "good"],
  ["healthy", "good"],
  ["serving", "good"],
  ["idle", "warning"],
  ["paused", "warning"],
  ["restarting", "warning"],
  ["starting", "warning"],
  ["stopping", "warning"],
  ["closing", "warning"],
  ["degraded", "warning"],
  ["unknown", "warning"],
  ["pending", "warning"],
  ["queued", "warning"],
  ["completed", "good"],
  ["cancelled", "faint"],
  ["failed", "bad"],
  ["timeout", "bad"],
  ["closed", "faint"],
  ["exited", "faint"],
  ["stopped", "faint"],
  ["error", "bad"],
  ["unhealthy", "bad"],
  ["terminated", "bad"],
  ["not-serving", "bad"],
]);
