import { MarkdownPainter, withoutControls } from "./markdown.ts";
import type { ShownCall } from "./tool-calls.ts";

/** Lines of a tool's output that are shown when it is unfolded; the message in the session has all of it. */
const MAX_LINES = 200;
/** Characters of what a tool was called with, in its one line. */
const MAX_INPUT = 60;

export interface ViewOptions {
  /** Whether Markdown is made readable, and colours may be used. */
  readonly isPainted: boolean;
  /** Whether what a tool has given is shown, or only that it has. */
  readonly isUnfolded: () => boolean;
  /** What unfolds it, for those who see that it is folded. */
  readonly unfoldHint: string;
}

/** What an answer looks like while it comes: its text, and the tools that were called, each where it was. */
export class AnswerView {
  readonly #options: ViewOptions;
  readonly #painter = new MarkdownPainter();
  /** Tools whose place in the text has not come, in order. */
  #waiting: ShownCall[] = [];
  /** Tools that run: what comes of the answer now belongs behind what they give. */
  readonly #running = new Set<string>();
  #held = "";
  #bytes = 0;
  #isLineStart = true;
  /** What has ended in this answer, for who wants to see it afterwards. */
  readonly ended: ShownCall[] = [];

  constructor(options: ViewOptions) {
    this.#options = options;
  }

  /** What to show for a piece of the answer. */
  text(piece: string): string {
    const before = this.#due();
    if (this.#running.size > 0) {
      this.#held += piece;
      return before;
    }
    this.#bytes += Buffer.byteLength(piece);
    return before + this.#shown(this.#painted(piece)) + this.#due();
  }

  /** What to show for a call, now or with the text that belongs before it. */
  call(call: ShownCall): string {
    if (call.result !== undefined) this.ended.push(call);
    this.#waiting.push(call);
    return this.#due() + this.#release();
  }

  /** What to show when the answer begins anew. */
  again(): string {
    this.#bytes = 0;
    this.#held = "";
    this.#running.clear();
    return `${this.#lineEnd()}${this.#faint("(the answer begins anew)")}\n`;
  }

  /** What is left at the end; ends the line. */
  end(): string {
    this.#running.clear(); // one that was given up gives nothing more
    const held = this.#release();
    this.#bytes = Number.POSITIVE_INFINITY;
    const rest = this.#options.isPainted ? this.#shown(this.#painter.end()) : "";
    return held + rest + this.#due() + this.#lineEnd();
  }

  /** One call with all that it has given. */
  unfolded(call: ShownCall): string {
    return this.#head(call) + this.#output(call);
  }

  #due(): string {
    let shown = "";
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      if (next.answerBytes > this.#bytes) break;
      this.#waiting.shift();
      if (next.result === undefined) this.#running.add(next.id);
      else this.#running.delete(next.id);
      shown += this.#lineEnd() + (next.result === undefined ? this.#head(next) : this.#result(next));
    }
    return shown;
  }

  /** What was held back for a tool that has ended. */
  #release(): string {
    if (this.#running.size > 0 || this.#held === "") return "";
    const held = this.#held;
    this.#held = "";
    return this.text(held);
  }

  #head({ name, input }: ShownCall): string {
    const words = withoutControls(input).replace(/\s+/g, " ");
    const cut = words.length > MAX_INPUT ? `${words.slice(0, MAX_INPUT)}…` : words;
    return `${this.#faint(`▸ ${withoutControls(name)} ${cut}`)}\n`;
  }

  #result(call: ShownCall): string {
    const { text = "", isFailure = false } = call.result ?? {};
    const mark = isFailure ? this.#styled("✗", "31") : this.#styled("✓", "32");
    if (this.#options.isUnfolded()) return `${this.#output(call)}  ${mark}\n`;
    const lines = withoutControls(text).trimEnd().split("\n");
    const last = lines.at(-1) ?? "";
    const hidden = lines.length > 1 ? `, ${lines.length} lines; ${this.#options.unfoldHint}` : "";
    const summary = last.length > MAX_INPUT ? `${last.slice(0, MAX_INPUT)}…` : last;
    return `  ${mark} ${this.#faint(`${summary}${hidden}`)}\n`;
  }

  #output({ result }: ShownCall): string {
    const lines = withoutControls(result?.text ?? "")
      .trimEnd()
      .split("\n");
    const shown = lines.slice(0, MAX_LINES).map((line) => `  ${this.#faint("│")} ${line}\n`);
    const rest = lines.length - MAX_LINES;
    return shown.join("") + (rest > 0 ? `  ${this.#faint(`… and ${rest} more lines`)}\n` : "");
  }

  #painted(piece: string): string {
    return this.#options.isPainted ? this.#painter.write(piece) : piece;
  }

  #shown(text: string): string {
    const visible = Bun.stripANSI(text);
    if (visible !== "") this.#isLineStart = visible.endsWith("\n");
    return text;
  }

  #lineEnd(): string {
    if (this.#isLineStart) return "";
    this.#isLineStart = true;
    return "\n";
  }

  #faint(text: string): string {
    return this.#styled(text, "2");
  }

  #styled(text: string, code: string): string {
    return this.#options.isPainted ? `\u001b[${code}m${text}\u001b[0m` : text;
  }
}
