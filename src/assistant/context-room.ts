import type { Said } from "./provider.ts";
import { estimatedTokens } from "./token-estimate.ts";

/** What stands in the place of a tool's result that has no room any more. */
const NO_ROOM = "[this result had no room any more]";

export interface Fitted {
  readonly said: readonly Said[];
  /** How many entries from before the question were left out. */
  readonly leftOut: number;
}

/**
 * As much of a turn as there is room for: first the oldest of what was said before the question goes, then the results of
 * tools in this turn lose their words, the oldest first. The question and the newest results stay. Undefined: they alone
 * are too much.
 *
 * @param question Where the question stands in `said`.
 */
export function fittedIn(
  maxTokens: number,
  { said, question }: { readonly said: readonly Said[]; readonly question: number },
): Fitted | undefined {
  let over = said.map(tokensOf).reduce((sum, tokens) => sum + tokens, 0) - maxTokens;
  let from = 0;
  while (from < question && (over > 0 || said[from]?.by === "tools")) {
    over -= tokensOf(said[from]);
    from += 1;
  }
  const fitted = said.slice(from).map((one, index, all) => {
    if (over <= 0 || one.by !== "tools" || index <= question - from || index === all.length - 1) return one;
    const without: Said = {
      by: "tools",
      results: one.results.map((result) => ({ ...result, text: NO_ROOM })),
    };
    over -= tokensOf(one) - tokensOf(without);
    return without;
  });
  return over > 0 ? undefined : { said: fitted, leftOut: from };
}

function tokensOf(said: Said | undefined): number {
  switch (said?.by) {
    case "user":
      return estimatedTokens(said.text);
    case "assistant":
      return estimatedTokens(said.text + said.calls.map((call) => JSON.stringify(call)).join(""));
    case "tools":
      return said.results.reduce((sum, { text }) => sum + estimatedTokens(text), 0);
    case undefined:
      return 0;
  }
}
