/** Where a text stops being JSON, in words such as `at character 12, near "a: 1}"`; undefined when it is JSON. */
export function jsonMistake(text: string): string | undefined {
  const at = mistakeAt(text);
  if (at === undefined) return undefined;
  if (at >= text.length) return "at its end, where something is missing";
  const rest = text.slice(at);
  return `at character ${at + 1}, near "${rest.length > SHOWN ? `${rest.slice(0, SHOWN)}…` : rest}"`;
}

const SHOWN = 24;

/** What may come next: a value, one or the end of its array, a key, one or the end of its object, and what joins them. */
type Expected = "value" | "first-value" | "key" | "first-key" | "colon" | "comma" | "end";

/** JSON.parse says what is wrong and not where. */
function mistakeAt(text: string): number | undefined {
  const open: ("{" | "[")[] = [];
  let expected: Expected = "value";
  for (let at = 0; ; ) {
    at += matchLength(/[ \t\n\r]*/y, text, at);
    if (at === text.length) return expected === "end" ? undefined : at;
    const length = matchLength(TOKEN, text, at);
    const next: Expected | undefined =
      length === 0 ? undefined : after(text.slice(at, at + length), { expected, open });
    if (next === undefined) return at;
    expected = next;
    at += length;
  }
}

/** What may stand behind `token`; undefined when it may not stand there. Keeps account of what is `open`. */
function after(
  token: string,
  { expected, open }: { readonly expected: Expected; readonly open: ("{" | "[")[] },
): Expected | undefined {
  const isString = token.startsWith('"');
  switch (token) {
    case "{":
    case "[":
      if (expected !== "value" && expected !== "first-value") return undefined;
      open.push(token);
      return token === "{" ? "first-key" : "first-value";
    case "}":
    case "]": {
      const isFirst = expected === (token === "}" ? "first-key" : "first-value");
      if ((expected !== "comma" && !isFirst) || open.pop() !== (token === "}" ? "{" : "[")) return undefined;
      return open.length === 0 ? "end" : "comma";
    }
    case ",":
      if (expected !== "comma") return undefined;
      return open.at(-1) === "{" ? "key" : "value";
    case ":":
      return expected === "colon" ? "value" : undefined;
    default:
      if (expected === "key" || expected === "first-key") return isString ? "colon" : undefined;
      if (expected !== "value" && expected !== "first-value") return undefined;
      return open.length === 0 ? "end" : "comma";
  }
}

const TOKEN =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: JSON's strings hold none of them
  /[{}[\],:]|"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[\da-fA-F]{4}))*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;

function matchLength(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0].length ?? 0;
}
