/**
 * The values of `source` until it ends or `signal` aborts, whichever is first; neither an abort nor what `source` does
 * after it is an error. Unlike a race against one promise for each value, it keeps nothing of the values that passed.
 *
 * @example
 * for await (const frame of untilAborted(frames, ended)) await handle(frame);
 */
export async function* untilAborted<Value>(
  source: AsyncIterable<Value>,
  signal: AbortSignal,
): AsyncGenerator<Value, void, undefined> {
  const values = source[Symbol.asyncIterator]();
  let wake: (() => void) | undefined;
  const stop = () => wake?.();
  signal.addEventListener("abort", stop);
  try {
    while (!signal.aborted) {
      const next = await new Promise<IteratorResult<Value> | "aborted">((resolve, reject) => {
        wake = () => resolve("aborted");
        values.next().then(resolve, reject);
      });
      if (next === "aborted" || next.done) return;
      yield next.value;
    }
  } finally {
    signal.removeEventListener("abort", stop);
    // Not awaited: a generator that is waiting for its next value can't return before it has one.
    void values.return?.()?.then(undefined, () => undefined);
  }
}
