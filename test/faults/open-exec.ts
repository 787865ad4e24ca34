import type { Client } from "../../src/client/client.ts";
import { Failure } from "../../src/failure.ts";
import type { ExecEnd } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";

/** How the stream of a command ended: by these end frames, and by an error if there was one. */
export interface ExecStreamEnd {
  readonly ends: readonly ExecEnd[];
  readonly failure: Failure | undefined;
  /** The beginning of what it said. */
  readonly said: string;
}

interface Start {
  readonly containerId: string;
  readonly command: readonly string[];
  readonly timeoutNs?: bigint;
}

/** A command in a container that a client has begun, and reads. */
export class OpenExec {
  /** Resolves when the command runs, or can't. */
  readonly started: Promise<void>;
  readonly ended: Promise<ExecStreamEnd>;
  readonly #stop = new AbortController();
  readonly #started = Promise.withResolvers<void>();

  constructor(client: Client, start: Start) {
    this.started = this.#started.promise;
    this.ended = this.#read(client, start).finally(() => this.#started.resolve());
  }

  /** Cancels its call. */
  cancel(): void {
    this.#stop.abort();
  }

  async #read(client: Client, { containerId, command, timeoutNs = 0n }: Start): Promise<ExecStreamEnd> {
    const ends: ExecEnd[] = [];
    let said = "";
    const start = {
      payload: { case: "start" as const, value: { containerId, command: [...command], timeoutNs } },
    };
    async function* frames() {
      yield start;
    }
    try {
      for await (const { payload } of client.orchestrator.execContainer(frames(), {
        signal: this.#stop.signal,
      })) {
        if (payload.case === "started") this.#started.resolve();
        if (payload.case === "end") ends.push(payload.value);
        const isOutput = payload.case === "stdout" || payload.case === "stderr";
        if (isOutput && said.length < 1_000) said += Buffer.from(payload.value).toString();
      }
      return { ends, failure: undefined, said };
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      return { ends, failure: error, said };
    }
  }
}

/** `exited 5`, `unknown`, … */
export function endWords({ ends, failure }: ExecStreamEnd): string {
  const words = ends.map(({ how }) =>
    how.case === "exited" ? `exited ${how.value.code}` : (how.case ?? "nothing"),
  );
  return [...words, ...(failure === undefined ? [] : [failure.kind])].join(" and ") || "no end";
}
