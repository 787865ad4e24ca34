const DURATION_UNITS = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1_000, ms: 1 } as const;

const SIZE_UNITS = {
  TiB: 2 ** 40,
  TB: 1e12,
  GiB: 2 ** 30,
  GB: 1e9,
  MiB: 2 ** 20,
  MB: 1e6,
  KiB: 2 ** 10,
  kB: 1e3,
  B: 1,
} as const;

/**
 * Milliseconds of `250ms`, `30s`, `1.5h`, `1h30m`, `7d`, `0`; undefined for anything else. A number without a unit is
 * not a duration: it would be seconds to one reader and milliseconds to the next.
 */
export function readDuration(text: string): number | undefined {
  if (text === "0") return 0;
  if (!/^(\d+(\.\d+)?(ms|[dhms]))+$/.test(text)) return undefined;
  let total = 0;
  let smallest = Number.POSITIVE_INFINITY;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|[dhms])/g)) {
    if (unit === undefined || !isKey(DURATION_UNITS, unit)) return undefined;
    // 30m1h or 5s5s is more likely a slip than a wish.
    if (DURATION_UNITS[unit] >= smallest) return undefined;
    smallest = DURATION_UNITS[unit];
    total += Number(amount) * DURATION_UNITS[unit];
  }
  return wholeOrNothing(total);
}

/** The shortest text that `readDuration` reads as `ms` again, such as `1h30m`. */
export function writeDuration(ms: number): string {
  if (ms === 0) return "0";
  let rest = ms;
  let text = "";
  for (const [unit, length] of Object.entries(DURATION_UNITS)) {
    const count = Math.floor(rest / length);
    if (count > 0) text += `${count}${unit}`;
    rest -= count * length;
  }
  return text;
}

/** Bytes of `65536`, `100MiB`, `1.5GB`, `64K` (K, M, G and T alone are powers of 1024); undefined for anything else. */
export function readSize(text: string): number | undefined {
  const [, amount, written] = /^(\d[\d_]*(?:\.\d+)?) ?([A-Za-z]*)$/.exec(text) ?? [];
  if (amount === undefined || written === undefined) return undefined;
  const short = /^[kmgt]$/i.test(written) ? `${written.toUpperCase()}iB` : written === "" ? "B" : written;
  const unit = Object.keys(SIZE_UNITS).find((name) => name.toLowerCase() === short.toLowerCase());
  if (unit === undefined || !isKey(SIZE_UNITS, unit)) return undefined;
  return wholeOrNothing(Number(amount.replaceAll("_", "")) * SIZE_UNITS[unit]);
}

/** The shortest exact text, such as `100MiB`. */
export function writeSize(bytes: number): string {
  for (const unit of ["TiB", "TB", "GiB", "GB", "MiB", "MB", "KiB", "kB"] as const) {
    if (bytes >= SIZE_UNITS[unit] && bytes % SIZE_UNITS[unit] === 0)
      return `${bytes / SIZE_UNITS[unit]}${unit}`;
  }
  return String(bytes);
}

function wholeOrNothing(value: number): number | undefined {
  const rounded = Math.round(value);
  return Math.abs(value - rounded) < 1e-6 && Number.isSafeInteger(rounded) ? rounded : undefined;
}

function isKey<Table extends object>(table: Table, key: string): key is keyof Table & string {
  return Object.hasOwn(table, key);
}
