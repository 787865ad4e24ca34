const MAX_TEXT = 16_384;
const MAX_DEPTH = 6;
/** Over all of one field, so that a large object costs a bounded line. */
const MAX_NODES = 1_000;
const MAX_CAUSES = 5;
const MAX_ERRORS = 10;

/**
 * What JSON can hold of any value, bounded in size and depth; undefined when there is nothing to say. Never throws:
 * what can't be looked at becomes `[unreadable]`.
 */
export function plainValue(value: unknown): unknown {
  return plain(value, { depth: 0, seen: [], budget: { nodes: MAX_NODES } });
}

/** Whether it is an error, asked so that a proxy can't throw. */
export function isError(value: unknown): value is Error {
  try {
    return value instanceof Error;
  } catch {
    return false;
  }
}

/** An error with its stack, its causes and the errors inside it, in one text. */
export function errorText(error: Error): string {
  try {
    return cut(chain(error, MAX_CAUSES));
  } catch {
    return "[unreadable]";
  }
}

interface Place {
  readonly depth: number;
  /** The objects around this one, to see a circle. */
  readonly seen: readonly object[];
  readonly budget: { nodes: number };
}

function plain(value: unknown, place: Place): unknown {
  place.budget.nodes -= 1;
  switch (typeof value) {
    case "string":
      return cut(value);
    case "number":
      return Number.isFinite(value) ? value : String(value);
    case "bigint":
      return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
    case "boolean":
    case "undefined":
      return value;
    case "symbol":
      return String(value);
    case "function":
      return "[function]";
    case "object":
      return value === null ? null : plainObject(value, place);
  }
}

function plainObject(value: object, { depth, seen, budget }: Place): unknown {
  try {
    if (value instanceof Error) return errorText(value);
    if (value instanceof Date) return Number.isNaN(value.getTime()) ? "[invalid date]" : value.toISOString();
    if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
    if (seen.includes(value)) return "[circular]";
    if (depth >= MAX_DEPTH || budget.nodes <= 0) return "[…]";
    const inside: Place = { depth: depth + 1, seen: [...seen, value], budget };
    if (value instanceof Map) return entries(value, inside);
    if (value instanceof Set || Array.isArray(value)) return list(value, inside);
    if ("toJSON" in value && typeof value.toJSON === "function") return plain(value.toJSON(), inside);
    return entries(Object.entries(value), inside);
  } catch {
    return "[unreadable]";
  }
}

function list(items: Iterable<unknown>, place: Place): unknown[] {
  const result: unknown[] = [];
  for (const item of items) {
    if (place.budget.nodes <= 0) return [...result, "…"];
    result.push(plain(item, place) ?? null);
  }
  return result;
}

function entries(pairs: Iterable<readonly [unknown, unknown]>, place: Place): object {
  const result: Record<string, unknown> = Object.create(null);
  for (const [key, item] of pairs) {
    if (place.budget.nodes <= 0) {
      result["…"] = true;
      break;
    }
    result[cut(String(key))] = plain(item, place);
  }
  return result;
}

function chain(error: Error, causes: number): string {
  const stack = typeof error.stack === "string" ? error.stack : "";
  const frames = stack.indexOf("\n    at ");
  const text = `${error.name}: ${error.message}${frames < 0 ? "" : stack.slice(frames)}`;
  const inner = error instanceof AggregateError ? error.errors.slice(0, MAX_ERRORS) : [];
  const causing = error.cause === undefined ? [] : [error.cause];
  if (causes === 0) return text;
  return [
    text,
    ...[...causing, ...inner].map((one: unknown) => `Caused by: ${reason(one, causes - 1)}`),
  ].join("\n");
}

function reason(cause: unknown, causes: number): string {
  if (cause instanceof Error) return chain(cause, causes);
  const value = plainValue(cause);
  return typeof value === "string" ? value : (JSON.stringify(value) ?? "undefined");
}

function cut(text: string): string {
  if (text.length <= MAX_TEXT) return text;
  return `${text.slice(0, MAX_TEXT)}… (${text.length - MAX_TEXT} characters more)`;
}
