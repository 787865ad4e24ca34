import { Failure } from "../failure.ts";
import type { ContainerParts } from "./parts.ts";
import { plainReason } from "./plain-reason.ts";

/** Has the engine fetch an image. Failures: NOT_FOUND when it can't be had, whatever keeps it; UNAVAILABLE (engine). */
export async function fetchImage(
  { runtime, times }: Pick<ContainerParts, "runtime" | "times">,
  image: string,
  signal: AbortSignal,
): Promise<void> {
  const bounded = AbortSignal.any([signal, AbortSignal.timeout(times.pullMs)]);
  try {
    for await (const _progress of runtime.pull(image, bounded)) {
      // Only the end matters here; PullImage is for those who want to watch.
    }
  } catch (error) {
    if (bounded.aborted || !(error instanceof Failure)) throw error;
    throw notToBeHad(image, error);
  }
}

/** The failure for an image that is missing and was not to be fetched. */
export function notThere(image: string, cause: Failure): Failure {
  return new Failure(
    "not_found",
    `Cannot create a container of image "${image}": the engine has none, and it was not to be pulled`,
    { reason: "IMAGE_NOT_FOUND", metadata: { image }, cause },
  );
}

/** An image that no registry gives can't be had, whatever keeps it; an engine that is gone is another matter. */
function notToBeHad(image: string, error: Failure): Failure {
  const isEngine = error.details.reason === "RUNTIME_UNAVAILABLE";
  if (isEngine || (error.kind !== "unavailable" && error.kind !== "not_found")) return error;
  const words = plainReason(error);
  return new Failure(
    "not_found",
    `Cannot create a container of image "${image}": the engine has none, and can't get it (${words})`,
    { reason: "IMAGE_NOT_FOUND", metadata: { image }, cause: error },
  );
}
