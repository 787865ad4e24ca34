import type { Call } from "../call.ts";
import { Failure } from "../failure.ts";
import type { ContainerFacts, Runtime, RuntimeId } from "../runtime/runtime.ts";
import { type Container, engineLabels, type PullPolicy } from "./container.ts";
import { makeSurroundings } from "./engine-surroundings.ts";
import { fetchImage, notThere } from "./fetch-image.ts";
import type { Attached } from "./first-output.ts";
import type { ContainerParts } from "./parts.ts";
import type { FileIdentity } from "./policy/host-paths.ts";
import type { HardenedSpec } from "./policy/policy.ts";
import { checkStart } from "./policy/start-check.ts";
import { startAndInspect } from "./start-and-inspect.ts";

/** A container as the engine has made and started it. */
export interface MadeInEngine {
  readonly facts: ContainerFacts;
  readonly attached: Attached | undefined;
}

/** Has the engine make and start a container. What is left of one that fails, its caller removes. */
export async function makeInEngine(
  parts: ContainerParts,
  making: {
    readonly container: Container;
    readonly hardened: HardenedSpec;
    readonly pull: PullPolicy;
    readonly files: ReadonlyMap<string, FileIdentity>;
    /** The part that speaks. */
    readonly source: string;
  },
  call: Call,
): Promise<MadeInEngine> {
  const { runtime, times } = parts;
  const { container, hardened, files, source } = making;
  const within = () => AbortSignal.any([call.signal, AbortSignal.timeout(times.operationMs)]);
  if (making.pull === "always") await fetchImage(parts, container, call);
  await makeSurroundings(parts, container, within);
  const id = await createWithImage(parts, making, { call, within });
  const attached = hardened.restart.name === "no" ? await attach(runtime, id, within()) : undefined;
  try {
    const facts = await startAndInspect(runtime, id, within);
    if (facts === undefined) {
      throw new Failure(
        "aborted",
        `Cannot create container "${container.id}": the engine lost it while it was made`,
      );
    }
    await checkStart(parts, { container, facts, files, source }, call);
    return { facts, attached };
  } catch (error) {
    attached?.end();
    throw error;
  }
}

async function createWithImage(
  parts: ContainerParts,
  making: { readonly container: Container; readonly hardened: HardenedSpec; readonly pull: PullPolicy },
  { call, within }: { readonly call: Call; readonly within: () => AbortSignal },
): Promise<RuntimeId> {
  const { runtime, install } = parts;
  const { id, name, sessionId, config } = making.container;
  const labels = {
    ...config.labels,
    [engineLabels.install]: install,
    [engineLabels.session]: sessionId,
    [engineLabels.container]: id,
  };
  const spec = { ...making.hardened, name, labels };
  try {
    return await runtime.create(spec, within());
  } catch (error) {
    // Asked only when it turns out to be missing: the usual container doesn't wait for one call more.
    if (!(error instanceof Failure) || error.kind !== "not_found") throw error;
    if (making.pull !== "missing") throw notThere(config.image, error);
    await fetchImage(parts, making.container, call);
    return await runtime.create(spec, within());
  }
}

/** Before its start, so that nothing of its output is missed. Without it the engine's log has to do. */
async function attach(runtime: Runtime, id: RuntimeId, within: AbortSignal): Promise<Attached | undefined> {
  const living = new AbortController();
  const end = () => living.abort();
  within.addEventListener("abort", end, { once: true });
  try {
    return { output: await runtime.attach(id, living.signal), end };
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return undefined;
  } finally {
    within.removeEventListener("abort", end);
  }
}
