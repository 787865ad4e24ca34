import type { Failure } from "../failure.ts";
import type { Call, Caller } from "./call.ts";
import type { Departures } from "./departures.ts";
import type { Http2Connection } from "./http2.ts";
import type { Nudges } from "./nudges.ts";
import type { Patience } from "./patience.ts";

/** What the calls of one server share. */
export interface Edge {
  /** Told of what a handler threw that is not a Failure. */
  readonly report: (defect: unknown, call: Call) => void;
  readonly callerOf: (connection: Http2Connection | undefined) => Caller;
  /** Of an answer's message. */
  readonly maxSendBytes: number;
  readonly patience: Patience;
  readonly nudges: Nudges;
  readonly departures: Departures;
  /** How many calls are in progress, and how many may be; a call over that is refused. */
  inProgress: number;
  readonly maxInProgress: number;
  /** The calls that want to hear of the server's stop. */
  readonly open: Set<Abortable>;
  /** Why no call is begun any more. */
  stopped: Failure | undefined;
}

export interface Abortable {
  fail(reason: Failure): void;
  abort(reason: Failure): void;
}
