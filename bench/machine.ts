import { readFileSync } from "node:fs";
import { cpus, loadavg, release, totalmem } from "node:os";

/** What the figures were measured on. */
export interface Machine {
  readonly processor: string;
  readonly cores: number;
  readonly memoryGb: number;
  readonly kernel: string;
  readonly system: string;
  readonly bun: string;
  /** Of the last minute when the run began: more than a little means that the machine was not idle. */
  readonly load: number;
}

export function readMachine(): Machine {
  return {
    processor: cpus()[0]?.model.trim() ?? "unknown",
    cores: cpus().length,
    memoryGb: Math.round(totalmem() / 1e9),
    kernel: `${process.platform} ${release()}`,
    system: systemName(),
    bun: Bun.version,
    load: loadavg()[0] ?? 0,
  };
}

export function machineText(machine: Machine): string {
  const { cores, memoryGb, processor, kernel, system, bun, load } = machine;
  return `${cores} cores (${processor}), ${memoryGb} GB, ${system}, ${kernel}, Bun ${bun}; load ${load.toFixed(2)} at the start`;
}

function systemName(): string {
  try {
    return /^PRETTY_NAME="?([^"\n]+)/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1] ?? "unknown";
  } catch {
    return process.platform;
  }
}
