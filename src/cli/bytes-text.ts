/** About how many bytes, with three digits at most: `1.5KiB`, `23.4MiB`, `512B`. */
export function bytesText(bytes: number): string {
  let amount = bytes;
  let unit = 0;
  // What would be rounded to 1024 of a unit is 1 of the next.
  while (amount >= 1023.5 && unit < UNITS.length - 1) {
    amount /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || amount >= 99.95 ? 0 : 1;
  return `${amount.toFixed(digits)}${UNITS[unit]}`;
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"] as const;
