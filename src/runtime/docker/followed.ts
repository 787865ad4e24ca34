import { setTimeout as delay } from "node:timers/promises";
import type { RuntimeId } from "../runtime.ts";
import type { Engine } from "./engine.ts";
import { named, pathOf } from "./lifecycle.ts";

/** How long a log says nothing, in milliseconds, before it counts as read to its end once its container has ended. */
const QUIET_MS = 2_000;

/**
 * A followed log that ends with its container also where the engine forgets to end it, as it may do when the container
 * ends while the log is opened. Only the time that the reader waits counts as quiet.
 */
export async function* untilEnded(
  engine: Engine,
  id: RuntimeId,
  log: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const chunks = log[Symbol.asyncIterator]();
  const left = new AbortController();
  let end: (() => void) | undefined;
  let wait: object | undefined;
  const watching = (async () => {
    const either = AbortSignal.any([signal, left.signal]);
    await containerEnd(engine, id, either);
    while (!either.aborted) {
      const before = wait;
      await delay(QUIET_MS, undefined, { signal: either }).catch(() => {});
      if (wait !== undefined && wait === before) end?.();
    }
  })();
  try {
    for (;;) {
      const next = await new Promise<IteratorResult<Uint8Array>>((resolve, reject) => {
        wait = {};
        end = () => resolve({ done: true, value: undefined });
        chunks.next().then(resolve, reject);
      });
      wait = undefined;
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    left.abort();
    await watching;
  }
}

/** Resolves when the container has ended, or can't be asked any more: the log ends by itself then. */
async function containerEnd(engine: Engine, id: RuntimeId, signal: AbortSignal): Promise<void> {
  const request = {
    doing: `wait for ${named(id)}`,
    method: "POST",
    path: `${pathOf(id)}/wait`,
    query: { condition: "not-running" },
    boundMs: Number.POSITIVE_INFINITY,
  } as const;
  await engine.act(request, signal).catch(() => {});
}
