import type { Table } from "../store/table.ts";
import type { Piece } from "./piece.ts";
import type { TaskId } from "./task.ts";

/** Some pieces of a recording that follow each other. */
export interface RecordedRow {
  readonly recording: string;
  /** The offset of its first byte. */
  readonly startsAt: number;
  readonly pieces: readonly StoredPiece[];
}

/** A piece without its offset, which follows from those before it; bytes as base64. */
interface StoredPiece {
  readonly stream: string;
  readonly attempt: number;
  readonly size: number;
  readonly data?: string;
  readonly text?: string;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly isLast?: true;
}

export const recordingTable: Table<RecordedRow> = {
  name: "task_recordings",
  bigints: "none",
  key: (row) => `${row.recording}/${String(row.startsAt).padStart(16, "0")}`,
  columns: { recording: (row) => row.recording, startsAt: (row) => row.startsAt },
};

/** How the rows of one direction of a task are found. */
export function recordingName(taskId: TaskId, kind: "output" | "input"): string {
  return `${taskId}/${kind}`;
}

/** A row is begun anew when it has so many bytes: it bounds what one read decodes. */
const rowBytes = 256 * 1024;

/** The rows that hold these pieces, which follow each other; small ones of one kind are put together. */
export function rowsOf(recording: string, pieces: readonly Piece[]): readonly RecordedRow[] {
  const rows: RecordedRow[] = [];
  let run: Piece[] = [];
  let row: { startsAt: number; bytes: number; pieces: StoredPiece[] } | undefined;
  const endRun = () => {
    const [first] = run;
    if (first === undefined) return;
    row ??= { startsAt: first.offset, bytes: 0, pieces: [] };
    const stored = storedOf(run);
    row.pieces.push(stored);
    row.bytes += stored.size;
    run = [];
  };
  const endRow = () => {
    endRun();
    if (row !== undefined) rows.push({ recording, startsAt: row.startsAt, pieces: row.pieces });
    row = undefined;
  };
  let bytes = 0;
  for (const piece of pieces) {
    const before = run.at(-1);
    if (before !== undefined && !canJoin(before, piece)) endRun();
    run.push(piece);
    bytes += piece.size;
    if (bytes < rowBytes) continue;
    endRow();
    bytes = 0;
  }
  endRow();
  return rows;
}

/** The pieces that a row holds. */
export function partsIn(row: RecordedRow): readonly Piece[] {
  let offset = row.startsAt;
  return row.pieces.map(({ stream, attempt, size, data = "", text = "", metadata = {}, isLast = false }) => {
    const piece: Piece = {
      ...{ offset, size, stream, attempt, text, metadata, isLast },
      data: data === "" ? new Uint8Array(0) : Buffer.from(data, "base64"),
    };
    offset += size;
    return piece;
  });
}

/** Where a row ends. */
export function endOf(row: RecordedRow): number {
  return row.pieces.reduce((offset, { size }) => offset + size, row.startsAt);
}

function canJoin(before: Piece, piece: Piece): boolean {
  const isBare = (one: Piece) =>
    (one.text === "" || one.data.byteLength === 0) && Object.keys(one.metadata).length === 0 && !one.isLast;
  return (
    before.stream === piece.stream &&
    before.attempt === piece.attempt &&
    (before.text === "") === (piece.text === "") &&
    isBare(before) &&
    isBare(piece)
  );
}

function storedOf(run: readonly Piece[]): StoredPiece {
  const [first] = run;
  if (first === undefined) throw new Error("a run has at least one piece");
  const { stream, attempt, metadata } = first;
  const data = Buffer.concat(run.map((piece) => piece.data));
  const text = run.map((piece) => piece.text).join("");
  return {
    stream,
    attempt,
    size: run.reduce((size, piece) => size + piece.size, 0),
    ...(data.byteLength === 0 ? {} : { data: data.toString("base64") }),
    ...(text === "" ? {} : { text }),
    ...(Object.keys(metadata).length === 0 ? {} : { metadata }),
    ...(run.at(-1)?.isLast ? { isLast: true } : {}),
  };
}
