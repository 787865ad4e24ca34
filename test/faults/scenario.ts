import type { FaultOptions, FaultReport } from "./fault.ts";

/** One thing that the fault suite does. */
export interface Scenario {
  readonly name: string;
  /** Whether it needs the engine for itself. */
  readonly engine: "alone" | "shared";
  /** In the short run too, or only in the long one. */
  readonly runs: "always" | "long";
  run(options: FaultOptions): Promise<FaultReport>;
}
