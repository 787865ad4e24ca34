/** What turns each style on and off on a terminal. */
const STYLES = {
  strong: ["\u001b[1m", "\u001b[22m"],
  emphasis: ["\u001b[3m", "\u001b[23m"],
  code: ["\u001b[36m", "\u001b[39m"],
  heading: ["\u001b[1;4m", "\u001b[22;24m"],
  faint: ["\u001b[2m", "\u001b[22m"],
} as const;

/** What a line may begin with that is shown in another way. */
const LINE_START = /^(?:(#{1,6}) +|( *)[-*+] +|(> ?)|( *(?:`{3,}|~{3,})))/;
/** The beginning of such a beginning: more has to come before it can be shown. */
const MAY_START = /^(?:#{1,6} *| *[-*+]? *|>| *`{1,}| *~{1,})$/;

/**
 * Makes Markdown readable on a terminal while it comes: headings, lists, quotes, blocks of code, and strong, emphasised and
 * literal words. What it is not sure of is shown as it is. Anything that a terminal would obey is taken out first: the words
 * come from a model, which may have them from anywhere.
 */
export class MarkdownPainter {
  /** What can't be shown before more has come. */
  #held = "";
  #isLineStart = true;
  #fence = "";
  readonly #on = new Set<"strong" | "emphasis" | "code">();
  #lineStyle: "heading" | undefined;

  /** What to show for this text, and for what was held back before. */
  write(text: string): string {
    this.#held += withoutControls(text);
    let shown = "";
    while (this.#held !== "") {
      const step = this.#isLineStart ? this.#lineStart() : this.#inLine();
      if (step === undefined) break;
      shown += step;
    }
    return shown;
  }

  /** What is left, with all styles off. */
  end(): string {
    const rest = this.#held;
    this.#held = "";
    if (this.#fence !== "" && rest !== "") return this.#endsFence(rest) ? "" : codeLine(rest);
    return rest + this.#allOff();
  }

  #lineStart(): string | undefined {
    const line = this.#held;
    const isWhole = line.includes("\n");
    if (this.#fence !== "") return this.#inFence(isWhole);
    const [whole = "", hashes, bullet, quote, fence] = LINE_START.exec(line) ?? [];
    if (fence !== undefined) {
      if (!isWhole) return undefined; // its language follows
      this.#fence = fence.trim();
      this.#held = line.slice(line.indexOf("\n") + 1);
      return "";
    }
    if (!isWhole && MAY_START.test(line)) return undefined;
    this.#held = line.slice(whole.length);
    this.#isLineStart = false;
    if (hashes !== undefined) {
      this.#lineStyle = "heading";
      return STYLES.heading[0];
    }
    if (bullet !== undefined) return `${bullet}• `;
    if (quote !== undefined) return `${STYLES.faint[0]}▏${STYLES.faint[1]} `;
    return "";
  }

  /** A line of a block of code, shown when it is whole: only then it is known not to be the block's end. */
  #inFence(isWhole: boolean): string | undefined {
    if (!isWhole) return undefined;
    const end = this.#held.indexOf("\n");
    const line = this.#held.slice(0, end);
    this.#held = this.#held.slice(end + 1);
    if (!this.#endsFence(line)) return `${codeLine(line)}\n`;
    this.#fence = "";
    return "";
  }

  #endsFence(line: string): boolean {
    const trimmed = line.trim();
    return trimmed.length >= this.#fence.length && trimmed.replaceAll(this.#fence[0] ?? "`", "") === "";
  }

  #inLine(): string | undefined {
    const held = this.#held;
    const [first = ""] = held;
    if (first === "\n") {
      this.#held = held.slice(1);
      this.#isLineStart = true;
      return `${this.#allOff()}\n`;
    }
    if (first === "`") return this.#toggle("code", 1);
    if (first === "*" && !this.#on.has("code")) {
      if (held.length === 1) return undefined; // one or two?
      return held[1] === "*" ? this.#toggle("strong", 2) : this.#star(held);
    }
    const [plain = first] = /^[^\n`*]+/.exec(held) ?? [];
    this.#held = held.slice(plain.length);
    return plain;
  }

  /** One star is an emphasis where a word begins or ends at it, and a star elsewhere. */
  #star(held: string): string {
    const begins = !this.#on.has("emphasis") && /^\*\S/.test(held);
    if (begins || this.#on.has("emphasis")) return this.#toggle("emphasis", 1);
    this.#held = held.slice(1);
    return "*";
  }

  #toggle(style: "strong" | "emphasis" | "code", length: number): string {
    this.#held = this.#held.slice(length);
    if (this.#on.delete(style)) return STYLES[style][1];
    this.#on.add(style);
    return STYLES[style][0];
  }

  #allOff(): string {
    const off = [...this.#on].map((style) => STYLES[style][1]).join("");
    this.#on.clear();
    const heading = this.#lineStyle === undefined ? "" : STYLES[this.#lineStyle][1];
    this.#lineStyle = undefined;
    return off + heading;
  }
}

function codeLine(line: string): string {
  return `${STYLES.faint[0]}│${STYLES.faint[1]} ${STYLES.code[0]}${line}${STYLES.code[1]}`;
}

/** Without what a terminal would obey, but for ends of lines and tabs. */
export function withoutControls(text: string): string {
  return text.toWellFormed().replace(OBEYED, "");
}

const OBEYED = /(?![\n\t])[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu;
