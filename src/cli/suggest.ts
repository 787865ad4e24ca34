import { nearestName } from "../nearest-name.ts";

/** The one of `known` that was most likely meant by `word`: the one that it begins, or the nearest; else undefined. */
export function suggestion(word: string, known: Iterable<string>): string | undefined {
  const names = [...known];
  const begun = word.length < 2 ? [] : names.filter((name) => name.startsWith(word));
  return begun.length === 1 ? begun[0] : nearestName(word, names);
}
