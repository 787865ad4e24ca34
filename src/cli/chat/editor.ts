import type { KeyName } from "./keys.ts";

/** What is being typed: text of any number of lines, and a place in it, in UTF-16 units. */
export interface Draft {
  readonly text: string;
  readonly at: number;
}

export const EMPTY: Draft = { text: "", at: 0 };

const graphemes = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/** The draft with this text at its place. */
export function typed({ text, at }: Draft, more: string): Draft {
  return { text: text.slice(0, at) + more + text.slice(at), at: at + more.length };
}

/** The draft after a key that edits it; the same draft where the key does nothing there. */
export function edited(draft: Draft, key: KeyName): Draft {
  const { text, at } = draft;
  switch (key) {
    case "newline":
      return typed(draft, "\n");
    case "backspace":
      return removed(draft, { from: before(draft), to: at });
    case "delete":
      return removed(draft, { from: at, to: behind(draft) });
    case "left":
      return { text, at: before(draft) };
    case "right":
      return { text, at: behind(draft) };
    case "word-left":
      return { text, at: wordBefore(draft) };
    case "word-right":
      return { text, at: at + (/^\s*\S*/.exec(text.slice(at))?.[0].length ?? 0) };
    case "home":
      return { text, at: lineStart(draft) };
    case "end":
      return { text, at: lineEnd(draft) };
    case "kill-word":
      return removed(draft, { from: wordBefore(draft), to: at });
    case "kill-line":
      return removed(draft, { from: lineStart(draft), to: at });
    case "kill-rest":
      return removed(draft, { from: at, to: lineEnd(draft) });
    case "up":
      return moved(draft, -1);
    case "down":
      return moved(draft, 1);
    default:
      return draft;
  }
}

/** Whether there is a line above the place, or below it, to go to. */
export function hasLine({ text, at }: Draft, where: "above" | "below"): boolean {
  return where === "above" ? text.slice(0, at).includes("\n") : text.slice(at).includes("\n");
}

function removed({ text }: Draft, { from, to }: { readonly from: number; readonly to: number }): Draft {
  return { text: text.slice(0, from) + text.slice(to), at: from };
}

/** To the same place of the line above or below. */
function moved(draft: Draft, by: -1 | 1): Draft {
  const { text, at } = draft;
  const start = lineStart(draft);
  const column = at - start;
  if (by === -1) {
    if (start === 0) return draft;
    const above = lineStart({ text, at: start - 1 });
    return { text, at: Math.min(above + column, start - 1) };
  }
  const end = lineEnd(draft);
  if (end === text.length) return draft;
  return { text, at: Math.min(end + 1 + column, lineEnd({ text, at: end + 1 })) };
}

function before({ text, at }: Draft): number {
  const last = [...graphemes.segment(text.slice(0, at))].at(-1);
  return at - (last?.segment.length ?? 0);
}

function behind({ text, at }: Draft): number {
  const [first] = graphemes.segment(text.slice(at));
  return at + (first?.segment.length ?? 0);
}

function wordBefore({ text, at }: Draft): number {
  return at - (/\S*\s*$/.exec(text.slice(0, at))?.[0].length ?? 0);
}

function lineStart({ text, at }: Draft): number {
  return text.lastIndexOf("\n", at - 1) + 1;
}

function lineEnd({ text, at }: Draft): number {
  const end = text.indexOf("\n", at);
  return end < 0 ? text.length : end;
}
