import type { Client } from "../../client/client.ts";
import { Failure } from "../../failure.ts";
import { EXIT_CODES, SIGNAL_EXIT_CODES } from "../exit-codes.ts";
import type { Shell } from "../shell.ts";
import { AnswerView } from "./answer-view.ts";
import type { askTurn, TurnEnd } from "./asked-turn.ts";
import { DraftView } from "./draft-view.ts";
import { type Draft, EMPTY, edited, hasLine, typed } from "./editor.ts";
import { History } from "./history.ts";
import { type Key, type KeyName, KeyReader } from "./keys.ts";
import { caughtUp, followToolCalls, type ShownCall } from "./tool-calls.ts";

export interface TerminalChatOptions {
  readonly sessionId: string;
  readonly shell: Shell;
  readonly isPainted: boolean;
  /** What was asked before, oldest first. */
  readonly asked: readonly string[];
  readonly ask: typeof askTurn;
}

const HELP = `Enter sends, Alt-Enter or a \\ at the end begins another line, Up and Down go through what was asked.
Ctrl-C cancels an answer, and leaves when it is pressed again; so do Ctrl-D and /quit. Ctrl-O shows what tools give, or hides it.
`;

const PASTE_ON = "\u001b[?2004h";
const PASTE_OFF = "\u001b[?2004l";

/** A conversation of somebody who types; gives the exit code. The terminal is as it was when it returns or throws. */
export async function chatOnTerminal(client: Client, options: TerminalChatOptions): Promise<number> {
  const chat = new TerminalChat(client, options);
  return await chat.run();
}

interface Turn {
  readonly messageId: string;
  readonly view: AnswerView;
  readonly cancel: AbortController;
  /** Resolves when the log has told of its end. */
  readonly over: PromiseWithResolvers<void>;
}

class TerminalChat {
  readonly #client: Client;
  readonly #options: TerminalChatOptions;
  readonly #history: History;
  readonly #draftView = new DraftView();
  readonly #leaving = new AbortController();
  #draft: Draft = EMPTY;
  #turn: Turn | undefined;
  #lastCalls: readonly ShownCall[] = [];
  #isUnfolded = false;
  #mayLeave = false;
  #exitCode: number = EXIT_CODES.ok;
  #written: Promise<void> = Promise.resolve();
  #failed: unknown;

  constructor(client: Client, options: TerminalChatOptions) {
    this.#client = client;
    this.#options = options;
    this.#history = new History(options.asked);
  }

  async run(): Promise<number> {
    const { shell, sessionId } = this.#options;
    using _signals = shell.onSignals(["SIGTERM", "SIGHUP"], (signal) =>
      this.#leave(SIGNAL_EXIT_CODES[signal]),
    );
    const started = Promise.withResolvers<void>();
    const following = followToolCalls(this.#client, {
      sessionId,
      signal: this.#leaving.signal,
      onStarted: started.resolve,
      onCall: (call) => this.#turn !== undefined && this.#show(this.#turn.view.call(call)),
      onTurnOver: (messageId) => messageId === this.#turn?.messageId && this.#turn.over.resolve(),
    });
    await Promise.race([started.promise, following]);
    following.catch((error: unknown) => this.#fail(error));
    using _raw = shell.in.raw();
    using _resize = shell.out.onResize(() => this.#drawDraft());
    this.#write(PASTE_ON);
    this.#drawDraft();
    try {
      const keys = new KeyReader();
      for await (const bytes of shell.in.read(this.#leaving.signal))
        for (const key of keys.take(bytes)) this.#press(key);
    } finally {
      this.#leave(this.#exitCode);
      this.#write(`${this.#turn === undefined ? this.#draftView.clear() : "\r\n"}${PASTE_OFF}`);
      await this.#written;
    }
    if (this.#failed !== undefined) throw this.#failed;
    return this.#exitCode;
  }

  #press(key: Key): void {
    if (this.#leaving.signal.aborted) return;
    const wasLeaving = this.#mayLeave;
    this.#mayLeave = false;
    if (key.kind === "text") {
      this.#draft = typed(this.#draft, key.text);
      this.#drawDraft();
      return;
    }
    switch (key.name) {
      case "ctrl-o":
        this.#toggleFolding();
        break;
      case "ctrl-c":
        this.#interrupt(wasLeaving);
        break;
      case "enter":
        this.#enter();
        break;
      case "ctrl-d":
        this.#end();
        break;
      case "clear":
        if (this.#turn === undefined) this.#write("\u001b[2J\u001b[H");
        this.#drawDraft();
        break;
      default:
        this.#draft = this.#withKey(key.name);
        this.#drawDraft();
    }
  }

  /** Ctrl-D leaves where nothing is typed, and deletes elsewhere. */
  #end(): void {
    if (this.#draft.text === "" && this.#turn === undefined) this.#leave(EXIT_CODES.ok);
    this.#draft = edited(this.#draft, "delete");
    this.#drawDraft();
  }

  #withKey(name: KeyName): Draft {
    const draft = this.#draft;
    const old =
      name === "up" && !hasLine(draft, "above")
        ? this.#history.older(draft.text)
        : name === "down" && !hasLine(draft, "below")
          ? this.#history.newer()
          : undefined;
    return old === undefined ? edited(draft, name) : { text: old, at: old.length };
  }

  #interrupt(isSecond: boolean): void {
    if (this.#turn?.cancel.signal.aborted === true) this.#leave(SIGNAL_EXIT_CODES.SIGINT);
    else if (this.#turn !== undefined) this.#turn.cancel.abort();
    else if (isSecond) this.#leave(EXIT_CODES.ok);
    else {
      this.#mayLeave = true;
      this.#draft = EMPTY;
      this.#note("Ctrl-C again leaves");
    }
  }

  #enter(): void {
    if (this.#turn !== undefined) return;
    const { text, at } = this.#draft;
    const question = text.trim();
    if (text.endsWith("\\") && at === text.length) {
      this.#draft = edited(edited(this.#draft, "backspace"), "newline");
      this.#drawDraft();
    } else if (question !== "") {
      this.#write(this.#draftView.leave(this.#draft, this.#columns));
      this.#draft = EMPTY;
      this.#history.add(question);
      this.#obey(question);
    }
  }

  #obey(question: string): void {
    switch (question) {
      case "/quit":
      case "/exit":
        this.#leave(EXIT_CODES.ok);
        break;
      case "/help":
        this.#show(HELP);
        this.#drawDraft();
        break;
      default:
        void this.#ask(question).catch((error: unknown) => this.#fail(error));
    }
  }

  async #ask(text: string): Promise<void> {
    const { sessionId, isPainted } = this.#options;
    const view = new AnswerView({
      isPainted,
      isUnfolded: () => this.#isUnfolded,
      unfoldHint: "Ctrl-O shows them",
    });
    const messageId = Bun.randomUUIDv7();
    const turn = { messageId, view, cancel: new AbortController(), over: Promise.withResolvers<void>() };
    this.#turn = turn;
    try {
      const end = await this.#options.ask(this.#client, {
        sessionId,
        messageId,
        text,
        cancel: turn.cancel.signal,
        signal: this.#leaving.signal,
        onText: (piece) => this.#show(view.text(piece)),
        onAgain: () => this.#show(view.again()),
        onInterrupted: ({ message }) => this.#show(`${this.#faint(`(${message}; connecting again)`)}\n`),
      });
      await caughtUp(turn.over.promise);
      this.#show(view.end() + this.#endWords(end));
    } catch (error) {
      const failure = Failure.from(error);
      if (failure === undefined || this.#leaving.signal.aborted) throw error;
      this.#show(`${view.end()}${this.#bad(failure.message)}\n`);
      if (failure.kind === "failed_precondition" || failure.kind === "not_found")
        return this.#fail(undefined);
    } finally {
      this.#lastCalls = view.ended;
      this.#turn = undefined;
    }
    this.#drawDraft();
  }

  #endWords(end: TurnEnd): string {
    if (end.how === "answered") return "\n";
    if (end.how === "cancelled") return `${this.#faint("(cancelled)")}\n\n`;
    return `${this.#bad(end.words)}\n\n`;
  }

  #toggleFolding(): void {
    this.#isUnfolded = !this.#isUnfolded;
    if (this.#turn !== undefined) return;
    const view = new AnswerView({
      isPainted: this.#options.isPainted,
      isUnfolded: () => true,
      unfoldHint: "",
    });
    const calls = this.#isUnfolded ? this.#lastCalls.map((call) => view.unfolded(call)).join("") : "";
    this.#write(this.#draftView.clear());
    this.#show(calls);
    this.#note(this.#isUnfolded ? "what tools give is shown" : "what tools give is hidden");
  }

  /** A word above what is being typed. */
  #note(words: string): void {
    this.#write(this.#draftView.clear());
    this.#show(`${this.#faint(`(${words})`)}\n`);
    this.#drawDraft();
  }

  #drawDraft(): void {
    if (this.#turn === undefined && !this.#leaving.signal.aborted)
      this.#write(this.#draftView.draw(this.#draft, this.#columns));
  }

  get #columns(): number {
    return this.#options.shell.out.size()?.columns ?? 80;
  }

  #leave(exitCode: number): void {
    if (this.#leaving.signal.aborted) return;
    this.#exitCode = exitCode;
    this.#leaving.abort(new Failure("cancelled", "Cannot go on with the conversation: it was left"));
  }

  /** Ends the conversation with what has gone wrong. */
  #fail(error: unknown): void {
    if (this.#leaving.signal.aborted) return;
    this.#failed = error;
    this.#leave(EXIT_CODES.unknown);
  }

  /** Text, whose lines end as the terminal in its raw state needs it. */
  #show(text: string): Promise<void> {
    return this.#write(text.replaceAll("\n", "\r\n"));
  }

  #write(bytes: string): Promise<void> {
    if (bytes !== "")
      this.#written = this.#written
        .then(() => this.#options.shell.out.write(bytes))
        .catch((error: unknown) => this.#fail(error));
    return this.#written;
  }

  #faint(text: string): string {
    return this.#options.isPainted ? `\u001b[2m${text}\u001b[0m` : text;
  }

  #bad(text: string): string {
    return this.#options.isPainted ? `\u001b[31m${text}\u001b[0m` : text;
  }
}
