import type { ContainerFacts, Runtime, RuntimeId } from "../runtime/runtime.ts";

/**
 * Starts a container and gives what the engine then says of it. The engine is asked while the start is under way, and
 * answers when it lets go of the container: asked after that, it would first clean up behind a command that has ended
 * at once, which takes some 40 ms. Fails as `start` and `inspect` do.
 *
 * @param within makes the signal that bounds one of the engine's operations
 */
export async function startAndInspect(
  runtime: Runtime,
  id: RuntimeId,
  within: () => AbortSignal,
): Promise<ContainerFacts | undefined> {
  let asked: Promise<ContainerFacts | undefined> | undefined;
  const ask = () => {
    asked = runtime.inspect(id, within()).catch(() => undefined); // whatever was wrong, it is asked again
  };
  const timer = setTimeout(ask, askAfterMs);
  try {
    await runtime.start(id, within());
  } finally {
    clearTimeout(timer);
  }
  const facts = await asked;
  return facts === undefined || facts.state === "created" ? await runtime.inspect(id, within()) : facts;
}

/** By then an engine has begun with the start, and is not done with it. Milliseconds. */
const askAfterMs = 20;
