import { readFileSync } from "node:fs";

/**
 * When a process started, in the kernel's clock ticks since boot; undefined when it is gone or a zombie.
 * A pid alone does not name a process: it is given to another one later. Linux only.
 */
export function processStart(pid: number): string | undefined {
  const fields = statFields(pid);
  // Fields 3 and 22 of proc(5): the state, and the start time.
  return fields === undefined || fields[0] === "Z" ? undefined : fields[19];
}

/** The parent of a process, or undefined when it is gone. */
export function parentOf(pid: number): number | undefined {
  const parent = statFields(pid)?.[1];
  return parent === undefined ? undefined : Number(parent);
}

function statFields(pid: number): string[] | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The second field is the command in parentheses, and it may hold spaces and parentheses itself.
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  } catch {
    return undefined;
  }
}
