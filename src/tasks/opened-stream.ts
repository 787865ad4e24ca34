import type { Call } from "../call.ts";
import type { TaskFrame } from "./task-frames.ts";

/** Who opens a stream, as far as that is known. */
interface Opener {
  /** The agent's registration token; undefined when none was given. */
  readonly token: string | undefined;
  /** Which attempt it speaks for; undefined when it does not say. */
  readonly attempt: number | undefined;
  /** Its process. */
  readonly pid: number | undefined;
}

export interface OpenedStream {
  readonly opener: Opener;
  /** The byte to begin with: of the output for a caller, of the input for a worker. */
  readonly offset: number;
  readonly frames: AsyncIterable<TaskFrame>;
  /** Called when the stream is in place, and the attempt of a worker has begun durably. */
  readonly opened: (headers: Readonly<Record<string, string>>) => void;
  readonly call: Call;
}
