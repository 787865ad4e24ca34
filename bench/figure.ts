import type { Engine } from "../scripts/engine.ts";
import type { Progress } from "../scripts/progress.ts";
import type { Sample } from "./statistics.ts";

/** One thing that is measured; `measure` gives a row for each number that it comes to. */
export interface Figure {
  /** As `--only` takes it. */
  readonly name: string;
  measure(bench: Bench): Promise<readonly Row[]>;
}

/** What a figure may use. */
export interface Bench {
  /** The compiled server. */
  readonly program: string;
  /** A fresh folder, removed at the end. */
  readonly folder: string;
  /** `quick`: few rounds, to see that it works; the numbers mean little. */
  readonly length: "quick" | "full";
  readonly progress: Progress;
  /** Found or started when it is first asked for. */
  engine(): Promise<Engine>;
}

/** A line of the table. */
export interface Row {
  /** What was measured, such as `GetSession, 64 in flight`. */
  readonly what: string;
  readonly unit: string;
  readonly ours: Sample;
  /** The bare thing beside it, if there is one that compares. */
  readonly bare?: { readonly what: string; readonly sample: Sample };
  /** Ours over bare, if it means something. */
  readonly ratio?: number;
  readonly target: Target;
}

/** What is to be reached; `none` is a row that only explains the others. */
export type Target =
  | { readonly of: "ratio" | "ours"; readonly is: "at least" | "at most" | "below"; readonly value: number }
  | { readonly of: "none" };

/** Whether a row reaches its target; undefined when it has none. Judged by medians. */
export function isMet({ ours, ratio, target }: Row): boolean | undefined {
  if (target.of === "none") return undefined;
  const value = target.of === "ratio" ? ratio : ours.median;
  if (value === undefined) return false;
  switch (target.is) {
    case "at least":
      return value >= target.value;
    case "at most":
      return value <= target.value;
    case "below":
      return value < target.value;
  }
}
