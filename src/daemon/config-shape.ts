import type { Config } from "./settings.ts";

interface Placed {
  readonly path: readonly string[];
  readonly value: unknown;
}

/** The values of some sections, or of all, in the table's shape and frozen. */
export function shapeConfig<Part = Config>(values: readonly Placed[]): Part {
  return shape(values) as Part; // the table is where both the type and the paths come from
}

function shape(values: readonly Placed[]): unknown {
  const keys = [...new Set(values.map(({ path }) => path[0] ?? ""))];
  const entries = keys.map((key) => {
    const under = values.filter(({ path }) => path[0] === key);
    const [first] = under;
    if (first?.path.length === 1) return [key, first.value];
    return [key, shape(under.map(({ path, value }) => ({ path: path.slice(1), value })))];
  });
  return Object.freeze(Object.fromEntries(entries));
}
