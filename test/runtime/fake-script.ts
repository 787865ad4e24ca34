/** A word of a script: parts that stand for themselves, and names of variables. */
export type Word = readonly ({ readonly text: string } | { readonly variable: string })[];

export type Statement =
  | { readonly kind: "command"; readonly words: readonly Word[]; readonly toStderr: boolean }
  | { readonly kind: "while"; readonly condition: readonly Statement[]; readonly body: readonly Statement[] };

type Token = { readonly operator: string } | { readonly word: Word };

/** Reads a script of commands parted by `;` or line ends, with quotes, variables, `>&2` and `while … do … done`. */
export function parseScript(script: string): readonly Statement[] {
  const tokens = tokenize(script);
  return parseStatements(tokens, []);
}

function parseStatements(tokens: Token[], until: readonly string[]): Statement[] {
  const statements: Statement[] = [];
  for (;;) {
    const token = tokens[0];
    if (token === undefined) return statements;
    const keyword = keywordOf(token);
    if (keyword !== undefined && until.includes(keyword)) return statements;
    if ("operator" in token) {
      tokens.shift();
    } else if (keyword === "while") {
      tokens.shift();
      const condition = parseStatements(tokens, ["do"]);
      tokens.shift();
      const body = parseStatements(tokens, ["done"]);
      tokens.shift();
      statements.push({ kind: "while", condition, body });
    } else {
      statements.push(parseCommand(tokens));
    }
  }
}

function parseCommand(tokens: Token[]): Statement {
  const words: Word[] = [];
  let toStderr = false;
  for (let token = tokens.shift(); token !== undefined; token = tokens.shift()) {
    if ("word" in token) words.push(token.word);
    else if (token.operator === ">&2") toStderr = true;
    else break;
  }
  return { kind: "command", words, toStderr };
}

function keywordOf(token: Token): string | undefined {
  if ("operator" in token || token.word.length !== 1) return undefined;
  const [part] = token.word;
  return part !== undefined && "text" in part ? part.text : undefined;
}

const OPERATOR = /^(?:>&2|[;\n])/;
const VARIABLE = /^\$(?:\{(\w+)\}|([A-Za-z_]\w*|[0-9?]))/;

function tokenize(script: string): Token[] {
  const tokens: Token[] = [];
  for (let at = 0; at < script.length; ) {
    const operator = OPERATOR.exec(script.slice(at, at + 3))?.[0];
    if (operator !== undefined) {
      tokens.push({ operator });
      at += operator.length;
    } else if (/\s/.test(script.charAt(at))) {
      at++;
    } else {
      const { word, end } = readWord(script, at);
      tokens.push({ word });
      at = end;
    }
  }
  return tokens;
}

function readWord(script: string, start: number): { readonly word: Word; readonly end: number } {
  const parts: ({ text: string } | { variable: string })[] = [];
  let quote = "";
  let text = "";
  let at = start;
  while (at < script.length) {
    const char = script.charAt(at);
    const variable = quote === "'" ? null : VARIABLE.exec(script.slice(at));
    if (quote === "" && (/\s/.test(char) || OPERATOR.test(script.slice(at, at + 3)))) break;
    if (variable !== null) {
      parts.push({ text }, { variable: variable[1] ?? variable[2] ?? "" });
      text = "";
      at += variable[0].length;
    } else if (char === quote) {
      quote = "";
      at++;
    } else if (quote === "" && (char === "'" || char === '"')) {
      quote = char;
      at++;
    } else {
      text += char;
      at++;
    }
  }
  const kept = parts.length === 0 ? [{ text }] : [...parts, { text }];
  return { word: kept.filter((part) => kept.length === 1 || !("text" in part) || part.text !== ""), end: at };
}
