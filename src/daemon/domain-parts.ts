import type { EngineState } from "../containers/engine-link.ts";
import type { EventLog } from "../events/log.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { SqliteStore } from "../store/sqlite/sqlite-store.ts";
import type { Config } from "./config.ts";
import type { Log } from "./log.ts";
import type { Supervisor } from "./supervisor.ts";

/** What the domain is put together from. */
export interface DomainParts {
  readonly store: SqliteStore;
  readonly log: EventLog;
  readonly runtime: Runtime;
  readonly supervisor: Supervisor;
  readonly config: Config;
  readonly clock: () => number;
  readonly words: Log;
  /** Aborts when the server begins to stop. */
  readonly stopping: AbortSignal;
  readonly onEngine: (state: EngineState) => void;
}
