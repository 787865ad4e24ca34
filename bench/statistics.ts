/** What repeated measurements of one thing came to. */
export interface Sample {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly count: number;
}

/** Throws when there are none: a figure that was not measured has no sample. */
export function sampleOf(values: readonly number[]): Sample {
  return {
    median: median(values),
    min: percentile(values, 0),
    max: percentile(values, 100),
    count: values.length,
  };
}

/** The middle one, or the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((left, right) => left - right);
  const middle = sorted.length / 2;
  return (at(sorted, Math.ceil(middle) - 1) + at(sorted, Math.floor(middle))) / 2;
}

/** The least of `values` that is not exceeded by `percent` of them (nearest rank), for 0 to 100. */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = values.toSorted((left, right) => left - right);
  return at(sorted, Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1));
}

/**
 * Ours over bare, as the median of what each round gives: the two measurements of a round lie next to each other in
 * time, so what slows the machine down slows down both.
 */
export function pairedRatio(ours: readonly number[], bare: readonly number[]): number {
  if (ours.length !== bare.length) throw new Error(`${ours.length} rounds of ours, ${bare.length} of bare`);
  return median(ours.map((value, round) => value / at(bare, round)));
}

function at(values: readonly number[], index: number): number {
  const value = values[index];
  if (value === undefined) throw new Error("there are no measurements");
  return value;
}
