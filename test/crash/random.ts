/** Random numbers that come again with the same seed. */
export interface Random {
  /** From 0 to 1, without 1. */
  next(): number;
  /** A whole number from `from` to `to`, both possible. */
  between(from: number, to: number): number;
  /** One entry; undefined when there is none. */
  pick<T>(entries: readonly T[]): T | undefined;
}

/** @param seed of which 32 bits count */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  // Mulberry32: small, and good enough to choose moments.
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
  return {
    next,
    between: (from, to) => from + Math.floor(next() * (to - from + 1)),
    pick: (entries) => entries[Math.floor(next() * entries.length)],
  };
}
