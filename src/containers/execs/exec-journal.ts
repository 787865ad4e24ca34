import type { Background } from "../../background.ts";
import type { Call } from "../../call.ts";
import { Bell } from "../../events/bell.ts";
import type { Instant } from "../../events/event.ts";
import { Failure } from "../../failure.ts";
import { sessionTable } from "../../sessions/session.ts";
import { changed, put, type Store } from "../../store/store.ts";
import type { PagePlace } from "../../store/table.ts";
import { type Container, containerEvent } from "../container.ts";
import { callSource, engineSource } from "../observe.ts";
import type { ContainerParts } from "../parts.ts";
import { type Exec, type ExecEnd, type ExecId, type ExecStart, execTable } from "./exec.ts";

/** How long a log that can't be written is left alone, in milliseconds. */
const writeRetryMs = 1_000;

/** The rows of execs, and what the log says of them. */
export class ExecJournal {
  readonly #store: Store;
  readonly #clock: () => Instant;
  readonly #background: Background;
  /** Those whose rows are this server's own. */
  readonly #open = new Set<ExecId>();

  constructor(parts: Pick<ContainerParts, "store" | "clock" | "background">) {
    this.#store = parts.store;
    this.#background = parts.background;
    this.#clock = parts.clock;
  }

  /** A command's row, and when it is written. */
  begin(container: Container, start: ExecStart, call: Call): { row: Exec; written: Promise<void> } {
    const open: Exec = {
      id: Bun.randomUUIDv7() as ExecId, // this is where exec ids are made
      containerId: container.id,
      sessionId: container.sessionId,
      command: start.command.map((word) => word.slice(0, 256)).slice(0, 16),
      startedAt: this.#clock(),
      tty: start.tty,
      stdin: start.stdin,
      onDisconnect: start.onDisconnect,
      life: { state: "running" },
    };
    const data = { exec_id: open.id, command: open.command.join(" ").slice(0, 1_024) };
    const { actor, correlationId } = call;
    const event = { source: callSource, at: open.startedAt, actor, correlationId, data };
    this.#open.add(open.id);
    const written = this.#store.change(
      { session: { table: sessionTable, key: container.sessionId } },
      ({ session }) => {
        const started = containerEvent({ ...container, session }, { type: "exec_started", ...event });
        return changed(undefined, [put(execTable, open)], [started]);
      },
    );
    written.catch(() => this.#open.delete(open.id));
    return { row: open, written };
  }

  /**
   * Writes how an exec ended; resolves to when that was. A log that can't be written now (a full disk) keeps nobody
   * waiting: the end is written as soon as that is possible.
   */
  async finish(open: Exec, finish: Omit<Finish, "at">): Promise<Instant> {
    const at = this.#clock();
    try {
      await this.#write(open, { ...finish, at });
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      this.#background.start("write the end of a command", (signal) =>
        this.#writeLater(open, { ...finish, at }, signal),
      );
    }
    return at;
  }

  async #write(open: Exec, finish: Finish): Promise<void> {
    const { end, call, at, outputBytes } = finish;
    const { actor, correlationId } = call;
    const data = { exec_id: open.id, ...endData(end) };
    const event = { source: finish.source ?? callSource, at, actor, correlationId, data };
    await this.#store.change({ session: { table: sessionTable, key: open.sessionId } }, ({ session }) => {
      const about = { id: open.containerId, sessionId: open.sessionId, session };
      const finished = containerEvent(about, { type: "exec_finished", ...event });
      const ended: Exec = { ...open, life: { state: "ended", end, endedAt: at, outputBytes } };
      return changed(undefined, [put(execTable, ended)], [finished]);
    });
    this.#open.delete(open.id);
  }

  async #writeLater(open: Exec, finish: Finish, signal: AbortSignal): Promise<void> {
    const bell = new Bell();
    signal.addEventListener("abort", bell.ring, { once: true });
    try {
      while (!signal.aborted) {
        await bell.wait(writeRetryMs);
        try {
          return await this.#write(open, finish);
        } catch (error) {
          if (!(error instanceof Failure)) throw error;
        }
      }
    } finally {
      signal.removeEventListener("abort", bell.ring);
    }
  }

  /** Ends in the log what a server before this one has left running: nobody can know any more how it ended. */
  async settleLeftovers(call: Call): Promise<number> {
    const end: ExecEnd = { kind: "unknown", reason: "the server stopped while it ran" };
    let settled = 0;
    let after: PagePlace | undefined;
    do {
      const page = await this.#store.list(execTable, { where: { state: "running" }, limit: 500, after });
      const left = page.rows.filter(({ id }) => !this.#open.has(id));
      await Promise.all(
        left.map((open) => this.finish(open, { end, call, outputBytes: null, source: engineSource })),
      );
      settled += left.length;
      after = page.next;
    } while (after !== undefined);
    return settled;
  }
}

interface Finish {
  readonly end: ExecEnd;
  /** How much it had written; null when nobody knows. */
  readonly outputBytes: number | null;
  readonly call: Call;
  readonly source?: string;
  readonly at: Instant;
}

function endData(end: ExecEnd): Record<string, string> {
  switch (end.kind) {
    case "exited":
      return { end: "exited", exit_code: String(end.code) };
    case "signalled":
      return { end: "signalled", signal: `SIG${end.signal}` };
    case "timed_out":
      return { end: "timed_out", timeout_ns: String(end.timeoutNs) };
    default:
      return { end: end.kind, reason: end.reason };
  }
}
