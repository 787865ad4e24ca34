import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Client, connect } from "../../src/client/client.ts";
import { type ServerOptions, startServer, type TestServer } from "../server.ts";
import type { CallerReport } from "./chat-caller.ts";
import { checkChats, type KnownQuestion } from "./chat-checks.ts";
import { type Random, seeded } from "./random.ts";
import { Violations } from "./violations.ts";

export interface ChatCrashOptions {
  readonly rounds: number;
  readonly seed: number;
  readonly progress?: (line: string) => void;
}

/** What a run came to. */
export interface ChatCrashFigures {
  readonly seed: number;
  readonly killed: Readonly<Record<Victim, number>>;
  readonly questions: number;
  readonly answered: number;
  readonly failed: number;
  readonly violations: readonly string[];
}

/** The figures as a table. */
export function chatTableOf(figures: ChatCrashFigures): string {
  const { killed, violations } = figures;
  const rows: readonly (readonly [string, string | number])[] = [
    ["seed", figures.seed],
    ["kills of the server", killed.server],
    ["kills of the assistant", killed.assistant],
    ["kills of a caller", killed.caller],
    ["questions", figures.questions],
    ["answered, once", figures.answered],
    ["failed, with a reason", figures.failed],
    ["violations", violations.length],
  ];
  return [...rows.map(([what, value]) => `${what.padEnd(24)}${value}`), ...violations].join("\n");
}

type Victim = "server" | "assistant" | "caller";

const callers = 3;

/** Lets callers ask an assistant, kills one of server, assistant and callers each round, and checks every turn at the end. */
export async function runChatCrash(options: ChatCrashOptions): Promise<ChatCrashFigures> {
  const folder = mkdtempSync(join(tmpdir(), "baaaht-chat-crash-"));
  try {
    await using run = new ChatCrashRun(options, folder);
    return await run.all();
  } finally {
    rmSync(folder, { recursive: true });
  }
}

class ChatCrashRun implements AsyncDisposable {
  readonly #options: ChatCrashOptions;
  readonly #random: Random;
  readonly #server: ServerOptions & { readonly socketPath: string };
  readonly #known = new Map<string, KnownQuestion>();
  readonly #killed = { server: 0, assistant: 0, caller: 0 };
  #running: TestServer | undefined;
  #assistant: Part | undefined;
  #callers: Part[] = [];
  #started = 0;

  constructor(options: ChatCrashOptions, folder: string) {
    this.#options = options;
    this.#random = seeded(options.seed);
    this.#server = {
      dataDir: join(folder, "data"),
      socketPath: join(folder, "s.sock"),
      env: { BAAAHT_CHAT_ASSISTANT_WAIT: "3s" },
    };
  }

  async all(): Promise<ChatCrashFigures> {
    this.#running = await startServer(this.#server);
    await this.#startAssistant();
    for (let index = 0; index < callers; index += 1) this.#startCaller();
    for (let round = 1; round <= this.#options.rounds; round += 1) {
      await Bun.sleep(this.#random.between(100, 900));
      const victim = this.#random.pick<Victim>(["server", "server", "assistant", "caller"]) ?? "server";
      this.#killed[victim] += 1;
      await this.#kill(victim);
      this.#options.progress?.(`round ${round}: killed the ${victim}; ${this.#known.size} questions`);
    }
    await Bun.sleep(300);
    for (const caller of this.#callers) await caller.kill();
    return await this.#check();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const part of [...this.#callers, this.#assistant]) await part?.kill();
    await this.#running?.[Symbol.asyncDispose]();
  }

  async #kill(victim: Victim): Promise<void> {
    switch (victim) {
      case "server":
        await this.#running?.kill();
        await this.#running?.[Symbol.asyncDispose]();
        this.#running = await startServer(this.#server);
        return;
      case "assistant":
        await this.#assistant?.kill();
        await this.#startAssistant();
        return;
      case "caller":
        await this.#callers.shift()?.kill();
        this.#startCaller();
    }
  }

  async #check(): Promise<ChatCrashFigures> {
    const violations = new Violations();
    await using client: Client = connect({ address: `unix://${this.#server.socketPath}` });
    const { answered, failed } = await checkChats(client, [...this.#known.values()], violations);
    return {
      seed: this.#options.seed,
      killed: this.#killed,
      questions: this.#known.size,
      answered,
      failed,
      violations: violations.found,
    };
  }

  async #startAssistant(): Promise<void> {
    const ready = Promise.withResolvers<void>();
    this.#assistant = startPart("chat-assistant.ts", [this.#server.socketPath, this.#seed()], () =>
      ready.resolve(),
    );
    await ready.promise;
  }

  #startCaller(): void {
    this.#started += 1;
    const words = [this.#server.socketPath, `c${this.#started}`, this.#seed()];
    this.#callers.push(startPart("chat-caller.ts", words, (message) => this.#hear(message)));
  }

  #hear(message: unknown): void {
    const report = message as CallerReport; // the only thing that callers send
    const { sessionId, id } = report;
    const known = this.#known.get(id) ?? { sessionId, id, stored: "unknown", seen: [] };
    this.#known.set(id, {
      ...known,
      stored: report.kind === "asking" ? known.stored : "acknowledged",
      seen: report.kind === "ended" ? [...known.seen, report] : known.seen,
    });
  }

  #seed(): string {
    return String(this.#random.between(0, 2 ** 31));
  }
}

interface Part {
  kill(): Promise<void>;
}

function startPart(file: string, words: readonly string[], hear: (message: unknown) => void): Part {
  const child = Bun.spawn([process.execPath, join(import.meta.dir, file), ...words], {
    stdin: "ignore",
    stdout: "inherit",
    stderr: "inherit",
    ipc: hear,
  });
  return {
    kill: async () => {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}
