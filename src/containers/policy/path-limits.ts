import type { FieldViolation } from "../../failure.ts";

/** Characters of a path: Linux's PATH_MAX. */
export const maxPathLength = 4_096;

/** What is wrong with a path in a container or of the host; empty is for the caller to judge. */
export function pathViolations(path: string, field: string): readonly FieldViolation[] {
  if (path === "") return [];
  if (!path.startsWith("/"))
    return [{ field, description: `is "${path.slice(0, 64)}", which is not an absolute path` }];
  if (path.length > maxPathLength || hasNul(path))
    return [{ field, description: "is too long or has a NUL character" }];
  return [];
}

export function hasNul(text: string): boolean {
  return text.includes("\0");
}
