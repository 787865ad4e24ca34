import { abortFailure } from "./failure.ts";

/** What `waited` comes to; throws the signal's reason when it aborts before. `waited` itself goes on. */
export async function orAborted<Value>(waited: Promise<Value>, signal: AbortSignal): Promise<Value> {
  if (signal.aborted) throw abortFailure(signal);
  const aborted = Promise.withResolvers<never>();
  const stop = () => aborted.reject(abortFailure(signal));
  signal.addEventListener("abort", stop, { once: true });
  try {
    return await Promise.race([waited, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
