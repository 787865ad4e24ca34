import type { Call } from "../call.ts";
import type { Instant } from "../events/event.ts";
import { changed, put, remove, type Store } from "../store/store.ts";
import type { PagePlace } from "../store/table.ts";
import { type Container, containerEvent } from "./container.ts";
import { callSource } from "./creation.ts";
import { type ExecEnd, type ExecId, type ExecStart, execTable, type OpenExec } from "./exec.ts";
import { engineSource } from "./observe.ts";

/** The rows of the execs that run, and what the log says of them. */
export class ExecJournal {
  readonly #store: Store;
  readonly #clock: () => Instant;
  /** Those whose rows are this server's own. */
  readonly #open = new Set<ExecId>();

  constructor(parts: { readonly store: Store; readonly clock: () => Instant }) {
    this.#store = parts.store;
    this.#clock = parts.clock;
  }

  async begin(container: Container, start: ExecStart, call: Call): Promise<OpenExec> {
    const open: OpenExec = {
      id: Bun.randomUUIDv7() as ExecId, // this is where exec ids are made
      containerId: container.id,
      sessionId: container.sessionId,
      sessionLabels: container.sessionLabels,
      sessionOwner: container.sessionOwner,
      command: start.command.map((word) => word.slice(0, 256)).slice(0, 16),
      startedAt: this.#clock(),
    };
    const data = { exec_id: open.id, command: open.command.join(" ").slice(0, 1_024) };
    const { actor, correlationId } = call;
    const event = containerEvent(container, {
      type: "exec_started",
      source: callSource,
      at: open.startedAt,
      actor,
      correlationId,
      data,
    });
    this.#open.add(open.id);
    try {
      return await this.#store.change({}, () => changed(open, [put(execTable, open)], [event]));
    } catch (error) {
      this.#open.delete(open.id);
      throw error;
    }
  }

  /** Resolves to when it ended, as the log has it. */
  async finish(
    open: OpenExec,
    finish: { readonly end: ExecEnd; readonly call: Call; readonly source?: string },
  ): Promise<Instant> {
    const { end, call } = finish;
    const at = this.#clock();
    const event = {
      type: "exec_finished" as const,
      source: finish.source ?? callSource,
      at,
      actor: call.actor,
      correlationId: call.correlationId,
      sessionId: open.sessionId,
      containerId: open.containerId,
      labels: open.sessionLabels,
      ...(open.sessionOwner === "" ? {} : { userId: open.sessionOwner }),
      data: { exec_id: open.id, ...endData(end) },
    };
    await this.#store.change({}, () => changed(undefined, [remove(execTable, open.id)], [event]));
    this.#open.delete(open.id);
    return at;
  }

  /** Ends in the log what a server before this one has left running: nobody can know any more how it ended. */
  async settleLeftovers(call: Call): Promise<number> {
    const end: ExecEnd = { kind: "unknown", reason: "the server stopped while it ran" };
    let settled = 0;
    let after: PagePlace | undefined;
    do {
      const page = await this.#store.list(execTable, { limit: 500, after });
      const left = page.rows.filter(({ id }) => !this.#open.has(id));
      await Promise.all(left.map((open) => this.finish(open, { end, call, source: engineSource })));
      settled += left.length;
      after = page.next;
    } while (after !== undefined);
    return settled;
  }
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
