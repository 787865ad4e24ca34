import type { Call } from "../../call.ts";
import { Bell } from "../../events/bell.ts";
import { Failure, invalid } from "../../failure.ts";
import type { ExecId, ExecInput, ExecLife, ExecOutput } from "./exec.ts";
import type { Reader } from "./exec-readers.ts";
import { callEnd, isEngineLoss, type LiveExec, passInput } from "./live-exec.ts";

/** How a stream joins a command. */
export interface Attaching {
  /** The byte of its output to begin with; the oldest that is kept when absent. */
  readonly offset: number | undefined;
  readonly input: AsyncIterable<ExecInput>;
  /** What it means that there is no more input. */
  readonly inputEnd: "closes_stdin" | "changes_nothing";
  readonly call: Call;
}

/** See Execs.attach. */
export async function* attachTo(
  exec: LiveExec,
  attaching: Attaching,
): AsyncGenerator<ExecOutput, void, undefined> {
  const { ring, row } = exec;
  const { call } = attaching;
  const offset = checkedOffset(attaching.offset, { id: row.id, oldest: ring.oldest, total: ring.total });
  using reader = exec.readers.join(row.id, offset);
  const over = new AbortController();
  let wrong: Failure | undefined;
  const pumping = pump(exec, attaching, AbortSignal.any([call.signal, over.signal])).catch(
    (error: unknown) => {
      if (isEngineLoss(error)) return;
      if (!(error instanceof Failure)) throw error;
      wrong = error;
      reader.wake();
    },
  );
  call.signal.addEventListener("abort", reader.wake, { once: true });
  try {
    yield { kind: "started", id: row.id, offset };
    yield* outputs(exec, { reader, call, wrong: () => wrong });
  } finally {
    call.signal.removeEventListener("abort", reader.wake);
    over.abort();
    await pumping;
  }
}

/** How long the end of a client's frames may be the first sign of its going away, in milliseconds: some end a stream before they reset it. */
const cutWithinMs = 100;

async function pump(exec: LiveExec, { input, inputEnd }: Attaching, signal: AbortSignal): Promise<void> {
  await passInput(exec, input, signal);
  if (inputEnd === "changes_nothing" || signal.aborted) return;
  const cut = new Bell();
  signal.addEventListener("abort", cut.ring, { once: true });
  await cut.wait(cutWithinMs);
  signal.removeEventListener("abort", cut.ring);
  if (!signal.aborted) await exec.take({ kind: "close_stdin" }, signal);
}

async function* outputs(
  exec: LiveExec,
  of: { readonly reader: Reader; readonly call: Call; readonly wrong: () => Failure | undefined },
): AsyncGenerator<ExecOutput, void, undefined> {
  const { ring } = exec;
  const { reader, call } = of;
  for (;;) {
    const wrong = of.wrong();
    if (wrong !== undefined) throw wrong;
    if (call.signal.aborted) {
      const reason = callEnd(call.signal);
      // A server that stops ends the command as well, of which its reader is still told.
      if (reason.details.reason !== "SHUTTING_DOWN") throw reason;
      exec.stop(reason);
    }
    if (reader.offset < ring.oldest)
      throw notKept({ id: exec.row.id, offset: reader.offset, oldest: ring.oldest });
    const piece = ring.read(reader.offset);
    if (piece !== undefined) {
      yield { kind: piece.stream, data: piece.data, offset: piece.offset };
      reader.readTo(piece.offset + piece.data.byteLength);
    } else if (exec.ended !== undefined) {
      yield { kind: "end", end: exec.ended.end, at: exec.ended.at, offset: ring.total };
      return;
    } else {
      await reader.wait();
    }
  }
}

/** What can be told of a command that has ended and whose output nobody has any more. */
export function* endOnly(
  id: ExecId,
  life: Extract<ExecLife, { state: "ended" }>,
  offset: number | undefined,
): Generator<ExecOutput, void, undefined> {
  const total = life.outputBytes ?? 0;
  if (life.outputBytes === null && offset !== undefined && offset > 0)
    throw notKept({ id, offset, oldest: total });
  yield { kind: "started", id, offset: checkedOffset(offset, { id, oldest: total, total }) };
  yield { kind: "end", end: life.end, at: life.endedAt, offset: total };
}

function checkedOffset(
  offset: number | undefined,
  has: { readonly id: ExecId; readonly oldest: number; readonly total: number },
): number {
  if (offset === undefined) return has.oldest;
  if (offset < 0 || offset > has.total) {
    const description = `is ${offset}; the command has written ${has.total} bytes`;
    throw invalid(`attach to command "${has.id}"`, [{ field: "start.offset", description }]);
  }
  if (offset < has.oldest) throw notKept({ ...has, offset });
  return offset;
}

function notKept(of: { readonly id: ExecId; readonly offset: number; readonly oldest: number }): Failure {
  const { id, offset, oldest } = of;
  return new Failure(
    "out_of_range",
    `Cannot read command "${id}" from byte ${offset} of its output: it is not kept any more; byte ${oldest} is the oldest`,
    {
      reason: "OUTPUT_NOT_KEPT",
      metadata: { exec_id: id, offset: String(offset), oldest_offset: String(oldest) },
    },
  );
}
