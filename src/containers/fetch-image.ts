import type { Call } from "../call.ts";
import { Failure } from "../failure.ts";
import type { Container } from "./container.ts";
import type { ContainerParts } from "./parts.ts";
import { plainReason } from "./plain-reason.ts";

/** Has the engine fetch a container's image. Failures: NOT_FOUND when it can't be had, whatever keeps it; UNAVAILABLE (engine). */
export async function fetchImage(
  { images, times }: Pick<ContainerParts, "images" | "times">,
  { config: { image }, sessionId }: Container,
  call: Call,
): Promise<void> {
  const signal = AbortSignal.any([call.signal, AbortSignal.timeout(times.pullMs)]);
  try {
    for await (const _progress of images.fetch({ image, sessionId }, { ...call, signal })) {
      // Only the end matters here; PullImage is for those who want to watch.
    }
  } catch (error) {
    if (signal.aborted || !(error instanceof Failure)) throw error;
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
