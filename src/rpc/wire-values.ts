import type { DescEnum } from "@bufbuild/protobuf";
import { type Timestamp, timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import type { Instant } from "../events/event.ts";
import { invalid } from "../failure.ts";

/** A moment as the wire has it. */
export function timestamp(at: Instant): Timestamp {
  return timestampFromMs(at);
}

/** A moment that a client gave. Failures: INVALID_ARGUMENT when it is none that a clock can show. */
export function instantOf(wire: Timestamp | undefined, field: string): Instant | undefined {
  if (wire === undefined) return undefined;
  const at = timestampMs(wire);
  if (wire.nanos >= 0 && wire.nanos < 1_000_000_000 && Math.abs(at) <= 8.64e15) return at;
  throw invalid("read the request", [{ field, description: "is not a point in time" }]);
}

/** Milliseconds of a duration on the wire. Failures: INVALID_ARGUMENT when it is negative. */
export function millisecondsOf(ns: bigint, field: string): number {
  if (ns >= 0n) return Number(ns / 1_000_000n);
  throw invalid("read the request", [{ field, description: `is ${ns}; it can't be negative` }]);
}

/** A count as an int32 that can't overflow. */
export function count32(count: number): number {
  return Math.min(count, 2_147_483_647);
}

/** A value that the enum has; 0 stands for none. Failures: INVALID_ARGUMENT naming those that it has. */
export function knownEnum<Value extends number>(schema: DescEnum, value: Value, field: string): Value {
  if (schema.value[value] !== undefined) return value;
  const names = schema.values.filter(({ number }) => number !== 0).map(({ name }) => name);
  throw invalid("read the request", [
    { field, description: `is ${value}; one of ${names.join(", ")} is allowed` },
  ]);
}

/** The longest id that is looked up, in UTF-16 units. */
const maxIdLength = 128;

/** An id that a client gave: anything may be one, but it has to be there and be short, and hold no control characters. */
export function requiredId<Id extends string>(text: string, field: string): Id {
  const wrong = idProblem(text);
  if (wrong !== undefined) throw invalid("read the request", [{ field, description: wrong }]);
  return text as Id; // what is no id of ours is found nowhere, and answered NOT_FOUND there
}

function idProblem(text: string): string | undefined {
  if (text === "") return "is missing; name one";
  if (text.length > maxIdLength) return `has ${text.length} characters; at most ${maxIdLength} are allowed`;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code < 0x20 || (code >= 0x7f && code < 0xa0)) return "has control characters";
  }
  return undefined;
}
