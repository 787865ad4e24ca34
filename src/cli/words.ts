import type { DescEnum } from "@bufbuild/protobuf";
import type { GenEnum } from "@bufbuild/protobuf/codegenv2";
import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import { type Cell, cell } from "./cell.ts";

/** `SESSION_STATE_ACTIVE` as people say it: `active`. A number that this version does not know is shown as it is. */
export function enumWord(desc: DescEnum, value: number): string {
  const found = desc.value[value];
  return found === undefined ? String(value) : wordOf(desc, found.name);
}

/** All words of an enum but that for "not set". */
export function enumWords(desc: DescEnum): readonly string[] {
  return desc.values.filter(({ number }) => number !== 0).map(({ name }) => wordOf(desc, name));
}

/** The value that stands for `word`; "not set" for no word. */
export function enumNumber<Value extends number>(desc: GenEnum<Value>, word: string | undefined): Value {
  const found = desc.values.find(({ name }) => wordOf(desc, name) === word);
  return (found?.number ?? 0) as Value; // a number of this enum, each of which has 0 for "not set"
}

function wordOf(desc: DescEnum, name: string): string {
  const prefix = desc.sharedPrefix?.toUpperCase() ?? "";
  return (name.startsWith(prefix) ? name.slice(prefix.length) : name).toLowerCase().replaceAll("_", "-");
}

/** How long a span is in its two largest units, such as `3m20s`; below ten seconds with a tenth. */
export function spanText(ms: number): string {
  if (ms < 0) return `-${spanText(-ms)}`;
  if (ms < 1000) return `${Math.round(ms)}ms`;
  if (ms < 10_000) return `${Math.floor(ms / 100) / 10}s`;
  let seconds = Math.floor(ms / 1000);
  const parts: string[] = [];
  for (const [unit, length] of UNITS) {
    const count = Math.floor(seconds / length);
    seconds %= length;
    if (count > 0) parts.push(`${count}${unit}`);
    else if (parts.length > 0) break;
    if (parts.length === 2) break;
  }
  return parts.join("");
}

/** A duration of the wire, in nanoseconds; 0 is none. */
export function limitText(nanoseconds: bigint): string {
  return nanoseconds === 0n ? "none" : spanText(Number(nanoseconds / 1_000_000n));
}

export interface TimeStyle {
  readonly now: number;
  /** Whether a person reads it at once (`3m ago`), or it may be read later (`2026-01-31T12:00:00Z`). */
  readonly relative: boolean;
}

/** A time for a table; faint and empty-handed when it is not set. */
export function timeCell(timestamp: Timestamp | undefined, style: TimeStyle): Cell {
  if (timestamp === undefined) return cell("-", "faint");
  const date = timestampDate(timestamp);
  if (!style.relative) return cell(isoSeconds(date));
  const ago = style.now - date.getTime();
  if (Math.abs(ago) < 1000) return cell("now");
  return cell(ago > 0 ? `${roughSpan(ago)} ago` : `in ${roughSpan(-ago)}`);
}

/** The largest unit alone, as a glance takes it in. */
function roughSpan(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  for (const [unit, length] of UNITS) {
    if (seconds >= length) return `${Math.floor(seconds / length)}${unit}`;
  }
  return "0s";
}

function isoSeconds(date: Date): string {
  return date.toISOString().replace(/\.\d+Z$/, "Z");
}

/** Labels and environments: `key=value key=value`. */
export function pairsText(pairs: Readonly<Record<string, string>>): string {
  return Object.entries(pairs)
    .map(([key, value]) => `${key}=${/[\s"]/.test(value) || value === "" ? JSON.stringify(value) : value}`)
    .join(" ");
}

/** In seconds. */
const UNITS: readonly (readonly [string, number])[] = [
  ["d", 86_400],
  ["h", 3600],
  ["m", 60],
  ["s", 1],
];
