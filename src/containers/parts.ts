import type { Background } from "../background.ts";
import type { Instant } from "../events/event.ts";
import type { EventLog } from "../events/log.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { SessionId } from "../sessions/session.ts";
import type { Store } from "../store/store.ts";
import type { CopiesUnderWay } from "./copies-under-way.ts";
import type { Endings } from "./endings.ts";
import type { Images } from "./images.ts";
import type { OneAtATime } from "./one-at-a-time.ts";
import type { ContainerLimits } from "./policy/container-limits.ts";
import type { GuardedPath } from "./policy/mount-policy.ts";
import type { ContainerDefaults } from "./policy/policy.ts";
import type { Readings } from "./readings.ts";

/** What the use cases of containers work with. */
export interface ContainerParts {
  readonly store: Store;
  readonly log: EventLog;
  readonly runtime: Runtime;
  readonly clock: () => Instant;
  readonly background: Background;
  /** Each container is worked on by one at a time; the key is its id. */
  readonly locks: OneAtATime;
  /** Which containers are being ended by calls. */
  readonly endings: Endings;
  /** This install's id: the value of its containers' install label. */
  readonly install: string;
  readonly limits: ContainerLimits;
  readonly defaults: ContainerDefaults;
  /** What of this server no container gets. */
  readonly guarded: readonly GuardedPath[];
  readonly times: ContainerTimes;
  readonly readings: Readings;
  readonly images: Images;
  readonly copying: CopiesUnderWay;
  /** Counts as activity of the session. */
  readonly touch: (id: SessionId) => Promise<void>;
  /** As SessionsOptions has it. Milliseconds. */
  readonly noticeMs: number;
}

/** All in milliseconds. */
interface ContainerTimes {
  /** For one engine call that makes, starts or removes. */
  readonly operationMs: number;
  readonly pullMs: number;
  /** Between SIGTERM and SIGKILL when a stop names no time. */
  readonly stopGraceMs: number;
  /** The same when a session closes. */
  readonly closeGraceMs: number;
}
