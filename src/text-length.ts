/** The characters of all texts in plain data, names of its fields and keys of its maps too, in UTF-16 units. */
export function textLength(value: unknown): number {
  if (typeof value === "string") return value.length;
  if (typeof value !== "object" || value === null) return 0;
  let length = 0;
  for (const [key, part] of Object.entries(value)) {
    length += (Array.isArray(value) ? 0 : key.length) + textLength(part);
  }
  return length;
}
