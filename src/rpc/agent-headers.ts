import { beatIntervalMs } from "../agents/agent-rules.ts";
import type { Call } from "./call.ts";

/** How often agents beat. */
export interface Beats {
  readonly heartbeatIntervalMs: number;
  readonly graceMs: number;
}

/** What tells an agent how often to beat, and after how long a silence it is lost. */
export function beatHeaders(beats: Beats): Readonly<Record<string, string>> {
  return {
    "x-baaaht-heartbeat-interval-ms": String(beatIntervalMs(beats)),
    "x-baaaht-heartbeat-grace-ms": String(beats.graceMs),
  };
}

/** The registration token of an agent that has kept it. */
export function presentedToken(call: Call): string | undefined {
  return call.metadata.get("x-baaaht-agent-token");
}
