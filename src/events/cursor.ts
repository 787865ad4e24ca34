import { Failure, invalid } from "../failure.ts";
import type { Position } from "./event.ts";
import type { EventStorage } from "./storage.ts";

/** The text that stands for a position of the log with this epoch. Opaque to clients. */
export function cursorOf(epoch: string, position: Position): string {
  return `${epoch}-${position}`;
}

/**
 * The position that a client's cursor stands for.
 *
 * Failures: INVALID_ARGUMENT when the text is no cursor; OUT_OF_RANGE with the reason CURSOR_OTHER_LOG (another data
 * folder's, or from before it was made anew), CURSOR_TOO_OLD (retention has removed what follows it) or CURSOR_AHEAD.
 */
export function positionOf(
  cursor: string,
  options: { readonly field: string; readonly storage: EventStorage },
): Position {
  const { storage, field } = options;
  const parts = /^([0-9a-f]{1,64})-(\d{1,15})$/.exec(cursor);
  if (parts === null) {
    throw invalid("read the event log", [
      { field, description: "is not a cursor that this server has given" },
    ]);
  }
  const [, epoch, digits] = parts;
  const position = Number(digits);
  if (epoch !== storage.epoch) {
    throw gap(cursor, storage, {
      reason: "CURSOR_OTHER_LOG",
      state: "it is of another log: the data folder is another one or was made anew",
    });
  }
  if (position > storage.tail) {
    throw gap(cursor, storage, {
      reason: "CURSOR_AHEAD",
      state: "the log has not come that far: was it restored from a backup?",
    });
  }
  if (position + 1 < storage.head) throw tooOld(cursor, storage);
  return position;
}

/** What a reader hears whose next event retention has removed. */
export function tooOld(cursor: string, storage: EventStorage): Failure {
  return gap(cursor, storage, {
    reason: "CURSOR_TOO_OLD",
    state: `the log now begins after "${cursorOf(storage.epoch, storage.head - 1)}"; list what you need and subscribe from the listing's cursor`,
  });
}

function gap(
  cursor: string,
  storage: EventStorage,
  why: { readonly reason: string; readonly state: string },
): Failure {
  return new Failure("out_of_range", `Cannot resume after cursor "${cursor}": ${why.state}`, {
    reason: why.reason,
    metadata: {
      oldest_cursor: cursorOf(storage.epoch, storage.head - 1),
      newest_cursor: cursorOf(storage.epoch, storage.tail),
    },
  });
}
