import { readFileSync } from "node:fs";

/** How long all threads of a process have run on a processor, in microseconds; in steps of 10 ms. */
export function processorTimeUs(pid: number): number {
  // After the name in parentheses, which may hold spaces: fields 14 and 15 are ticks in user mode and in the kernel.
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10_000;
}

/** Resident memory of a process, in MB (10^6 bytes). */
export function residentMb(pid: number): number {
  const kb = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return (Number(kb) * 1024) / 1e6;
}
