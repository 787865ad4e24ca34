import { abortFailure } from "../../failure.ts";
import type { OutputChunk, RuntimeId } from "../runtime.ts";
import { demux } from "./demux.ts";
import type { Engine } from "./engine.ts";
import { engineFailure, unreachable } from "./failures.ts";
import { named, pathOf } from "./lifecycle.ts";

/** Output from the moment this resolves. The engine's pipe is small: what isn't read soon holds the container up. */
export async function attachContainer(
  engine: Engine,
  id: RuntimeId,
  signal: AbortSignal,
): Promise<AsyncIterable<OutputChunk>> {
  const doing = `attach to ${named(id)}`;
  const query = { stream: true, stdout: true, stderr: true };
  const path = `${pathOf(id)}/attach`;
  const stream = await engine.stream({ doing, method: "POST", path, query }, signal);
  const at = { doing, endpoint: engine.endpoint.name };
  async function* read(): AsyncGenerator<OutputChunk> {
    try {
      yield* demux(stream, { wholeFrames: false, broken: (why) => unreachable(at, why) });
    } catch (error) {
      throw signal.aborted ? abortFailure(signal) : engineFailure(error, at);
    } finally {
      stream.destroy();
    }
  }
  return read();
}
