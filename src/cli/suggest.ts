import { nearestName } from "../nearest-name.ts";

/** The one of `known` that was most likely meant by `word`: the one that it begins, or the nearest; else undefined. */
export function suggestion(word: string, known: Iterable<string>): string | undefined {
  const names = [...known];
  const begun = word.length < 2 ? [] : names.filter((name) => name.startsWith(word));
  return begun.length === 1 ? begun[0] : nearestName(word, names);
}

/** The same for the name of a command: also what other programs call it. */
export function commandSuggestion(word: string, known: Iterable<string>): string | undefined {
  const names = [...known];
  const called = OTHER_NAMES.get(word.toLowerCase()) ?? [];
  // "container list" stands for the whole of a line: it is offered where "container" is known.
  return called.find((name) => names.includes(name.split(" ", 1)[0] ?? "")) ?? suggestion(word, names);
}

/** That `word` is none of `choices`, which are all named, and the one that may be meant. */
export function notAChoice(word: string, choices: readonly string[]): string {
  const close = suggestion(word.toLowerCase().replaceAll("_", "-"), choices);
  const hint = close === undefined ? "" : `did you mean ${close}? `;
  return `can't be "${word}"; ${hint}${close === undefined ? "one of" : "It is one of"} ${choices.join(", ")}`;
}

/** What other programs call our commands; of several, the first that is known counts. */
const OTHER_NAMES: ReadonlyMap<string, readonly string[]> = new Map([
  ["add", ["create"]],
  ["delete", ["remove", "close"]],
  ["del", ["remove", "close"]],
  ["rm", ["remove", "close", "container remove"]],
  ["ls", ["list", "container list"]],
  ["ps", ["list", "container list"]],
  ["show", ["get", "show", "status"]],
  ["inspect", ["get", "show", "status"]],
  ["describe", ["get", "show", "status"]],
  ["new", ["create"]],
  ["kill", ["stop", "close", "container stop"]],
  ["end", ["close", "stop"]],
  ["exec", ["exec", "container exec"]],
  ["logs", ["logs", "container logs"]],
  ["tail", ["logs", "watch", "event watch"]],
  ["follow", ["watch", "logs", "event watch"]],
  ["events", ["event watch"]],
  ["server", ["serve"]],
  ["start", ["create", "serve"]],
]);
