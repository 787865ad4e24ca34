import type { IncomingMessage } from "node:http";
import { z } from "zod";
import { abortFailure, Failure } from "../../failure.ts";
import { withRestOfLog } from "../../rest-of-log.ts";
import type { LogOptions, OutputChunk, RuntimeId } from "../runtime.ts";
import { demux } from "./demux.ts";
import type { Engine } from "./engine.ts";
import { engineFailure, unreachable } from "./failures.ts";
import { untilEnded } from "./followed.ts";
import { named, pathOf } from "./lifecycle.ts";
import { stampedChunks, stampedLines } from "./stamps.ts";

/**
 * The engine's log of a container. `since` and `until` count in milliseconds and include their own instant. Failures:
 * DATA_LOSS when it was followed and the engine has dropped some of it before it was read.
 */
export async function* containerLogs(
  engine: Engine,
  id: RuntimeId,
  options: LogOptions,
  signal: AbortSignal,
): AsyncGenerator<OutputChunk> {
  if (!options.stdout && !options.stderr) return;
  const log = readLog(engine, id, options, signal);
  const doing = `follow the log of ${named(id)}`;
  const isCut = options.follow && (await engine.dialect(doing, signal)).cutsFollowedLogs;
  if (!isCut || options.until !== undefined) return yield* log;
  const { tail, ...untailed } = options;
  const again = () => whileThere(readLog(engine, id, { ...untailed, follow: false }, signal));
  yield* withRestOfLog(log, again, { doing, isFromStart: tail === undefined, otherwise: "search" });
}

/** Without a container there is no log; one that was removed while it was followed has ended. */
async function* whileThere(log: AsyncIterable<OutputChunk>): AsyncGenerator<OutputChunk> {
  try {
    yield* log;
  } catch (error) {
    const kind = Failure.from(error)?.kind;
    if (kind !== "not_found" && kind !== "failed_precondition") throw error;
  }
}

async function* readLog(
  engine: Engine,
  id: RuntimeId,
  options: LogOptions,
  signal: AbortSignal,
): AsyncGenerator<OutputChunk> {
  const doing = `read the log of ${named(id)}`;
  const request = { doing, method: "GET", path: `${pathOf(id)}/logs`, query: logQuery(options) } as const;
  const at = { doing, endpoint: engine.endpoint.name };
  const { endsFollowedLogs } = await engine.dialect(doing, signal);
  const stream = await engine.stream(request, signal);
  const source = options.follow && !endsFollowedLogs ? untilEnded(engine, id, stream, signal) : stream;
  try {
    const framed = options.tty === undefined ? await isFramed(engine, id, stream, signal) : !options.tty;
    const broken = (why: string): Failure => unreachable(at, why);
    if (framed) {
      const chunks = demux(source, { wholeFrames: options.timestamps, broken });
      yield* options.timestamps ? stampedChunks(chunks) : chunks;
    } else {
      yield* options.timestamps ? stampedLines(source) : unframed(source);
    }
  } catch (error) {
    if (signal.aborted) throw abortFailure(signal);
    throw engineFailure(error, at);
  } finally {
    stream.destroy();
  }
}

function logQuery(options: LogOptions): Record<string, string | number | boolean> {
  return {
    follow: options.follow,
    stdout: options.stdout,
    stderr: options.stderr,
    timestamps: options.timestamps,
    ...(options.tail === undefined ? {} : { tail: options.tail }),
    ...(options.since === undefined ? {} : { since: seconds(options.since) }),
    ...(options.until === undefined ? {} : { until: seconds(options.until) }),
  };
}

function seconds(instant: number): string {
  return (instant / 1000).toFixed(3);
}

/** With a terminal the engine sends the bytes as they are. Engines from API 1.42 on say so, others have to be asked. */
async function isFramed(
  engine: Engine,
  id: RuntimeId,
  answer: IncomingMessage,
  signal: AbortSignal,
): Promise<boolean> {
  const type = answer.headers["content-type"];
  if (type === "application/vnd.docker.multiplexed-stream") return true;
  if (type === "application/vnd.docker.raw-stream" && answer.headers["api-version"] !== undefined) {
    // Before 1.42 all streams were called raw.
    const [, minor = 0] = String(answer.headers["api-version"]).split(".").map(Number);
    if (minor >= 42) return false;
  }
  const request = {
    doing: `read the log of ${named(id)}`,
    method: "GET",
    path: `${pathOf(id)}/json`,
  } as const;
  const { Config } = await engine.call(request, z.object({ Config: z.object({ Tty: z.boolean() }) }), signal);
  return !Config.Tty;
}

async function* unframed(stream: AsyncIterable<Uint8Array>): AsyncGenerator<OutputChunk> {
  for await (const data of stream) yield { stream: "stdout", data };
}
