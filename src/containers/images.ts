import type { Background } from "../background.ts";
import type { Call } from "../call.ts";
import type { Instant } from "../events/event.ts";
import { Failure, invalid } from "../failure.ts";
import type { Runtime } from "../runtime/runtime.ts";
import {
  activeSession,
  type Session,
  type SessionId,
  sessionEvent,
  sessionTable,
} from "../sessions/session.ts";
import { changed, type Store } from "../store/store.ts";
import { callSource } from "./observe.ts";
import { imageViolations } from "./policy/container-limits.ts";
import { imageAllowed, withTag } from "./policy/policy.ts";
import { type PullStep, SharedPull } from "./shared-pull.ts";

/** What an image was found to be when its pull was done. */
export interface PulledImage {
  /** `sha256:…` of what the registry has; empty where the engine does not say it. */
  readonly digest: string;
  /** What containers of it have as their image digest. */
  readonly imageId: string;
}

/** What whoever watches a pull gets: its steps, and at last the image. */
export type PullProgress = PullStep | ({ readonly kind: "pulled" } & PulledImage);

export interface ImagesOptions {
  /** Images that the server allows, `*` standing for any text; empty: any. */
  readonly allowed: readonly string[];
  /** How many images may be pulled at once. */
  readonly maxPulls: number;
}

/** For whom an image is pulled. */
export interface Pulling {
  readonly image: string;
  /** Whose allowed_images count, and whose event it is. */
  readonly sessionId?: SessionId | undefined;
}

interface ImageParts {
  readonly store: Store;
  readonly runtime: Runtime;
  readonly clock: () => Instant;
  readonly background: Background;
  /** In milliseconds: for one question to the engine, and for a whole pull. */
  readonly times: { readonly operationMs: number; readonly pullMs: number };
  /** Counts as activity of the session. */
  readonly touch: (id: SessionId) => Promise<void>;
}

/** Images: which may be used, and getting those that are missing. */
export class Images {
  readonly #parts: ImageParts;
  readonly #options: ImagesOptions;
  readonly #underWay = new Map<string, SharedPull<PulledImage>>();

  constructor(parts: ImageParts, options: ImagesOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  /** Failures: PERMISSION_DENIED naming `field` when the server does not allow the image. */
  refuse(image: string, { doing, field }: { readonly doing: string; readonly field: string }): void {
    refuseUnless(this.#options.allowed, { image, doing, field, who: "the server" });
  }

  /**
   * Has the engine fetch an image, for a client that wants to see it.
   *
   * Failures: INVALID_ARGUMENT, NOT_FOUND (session, or no registry has it), FAILED_PRECONDITION (session closed),
   * PERMISSION_DENIED, RESOURCE_EXHAUSTED (too many at once, full disk), UNAVAILABLE (engine, registry).
   */
  async pull(pulling: Pulling, call: Call): Promise<AsyncIterable<PullProgress>> {
    const { image, sessionId } = pulling;
    const violations = imageViolations(image, "image");
    if (violations.length > 0) throw invalid("pull an image", violations);
    const refusing = { doing: `Cannot pull image "${image}"`, field: "image" };
    this.refuse(image, refusing);
    if (sessionId !== undefined) {
      const found = await this.#parts.store.get(sessionTable, sessionId);
      const session = activeSession(found, { id: sessionId, doing: "pull an image in session" });
      refuseUnless(session.config.allowedImages, { image, ...refusing, who: "the session" });
      await this.#parts.touch(sessionId);
    }
    return this.fetch(pulling, call);
  }

  /** The same of an image that is known to be allowed. Who asks for what is on its way already shares that. */
  async *fetch(pulling: Pulling, call: Call): AsyncGenerator<PullProgress, void, undefined> {
    const shared = this.#join(pulling, call);
    using watching = shared.watch(call.signal);
    try {
      yield* watching.steps;
      yield { kind: "pulled", ...(await watching.result) };
    } catch (error) {
      throw error instanceof Failure ? inOwnWords(error, pulling.image) : error;
    }
  }

  #join(pulling: Pulling, call: Call): SharedPull<PulledImage> {
    const key = withTag(pulling.image);
    const before = this.#underWay.get(key);
    if (before !== undefined && !before.isOver) return before;
    if (this.#underWay.size >= this.#options.maxPulls) throw tooMany(pulling.image, this.#options.maxPulls);
    const shared = new SharedPull((tell, signal) => this.#run(pulling, { tell, call: { ...call, signal } }));
    this.#underWay.set(key, shared);
    this.#parts.background.start("pull an image", async (stop) => {
      const end = () => shared.abandon(stop.reason);
      stop.addEventListener("abort", end, { once: true });
      await shared.done;
      stop.removeEventListener("abort", end);
      if (this.#underWay.get(key) === shared) this.#underWay.delete(key);
    });
    return shared;
  }

  async #run(
    { image, sessionId }: Pulling,
    { tell, call }: { readonly tell: (step: PullStep) => void; readonly call: Call },
  ): Promise<PulledImage> {
    const { runtime, times } = this.#parts;
    const within = () => AbortSignal.any([call.signal, AbortSignal.timeout(times.operationMs)]);
    const had = await runtime.imageDigest(image, within());
    const bounded = AbortSignal.any([call.signal, AbortSignal.timeout(times.pullMs)]);
    let digest = "";
    for await (const step of runtime.pull(image, bounded)) {
      digest = step.digest ?? digest;
      const { status, layer, currentBytes, totalBytes } = step;
      tell({ kind: "step", status, layer, currentBytes, totalBytes });
    }
    const imageId = await runtime.imageDigest(image, within());
    if (imageId === undefined) {
      throw new Failure("aborted", `Cannot pull image "${image}": it was removed in the engine meanwhile`);
    }
    await this.#tell({ image, sessionId, isNew: had !== imageId, digest, imageId }, call);
    return { digest, imageId };
  }

  async #tell(
    pulled: Pulling & PulledImage & { readonly isNew: boolean },
    { actor, correlationId }: Call,
  ): Promise<void> {
    const { image, sessionId, digest, imageId, isNew } = pulled;
    const data = { image, digest, image_id: imageId, changed: String(isNew) };
    const event = {
      type: "image_pulled" as const,
      source: callSource,
      at: this.#parts.clock(),
      actor,
      correlationId,
      data,
    };
    const key = sessionId ?? ""; // no session has this
    await this.#parts.store.change({ session: { table: sessionTable, key } }, ({ session }) =>
      changed(
        undefined,
        [],
        [session === undefined ? event : sessionEvent(session satisfies Session, event)],
      ),
    );
  }
}

function refuseUnless(
  allowed: readonly string[],
  about: { readonly image: string; readonly doing: string; readonly field: string; readonly who: string },
): void {
  const { image, doing, field, who } = about;
  if (imageAllowed(image, allowed)) return;
  const description = `is "${image}"; ${who} allows ${allowed.slice(0, 16).join(", ")}`;
  throw new Failure("permission_denied", `${doing}: ${field} ${description}`, {
    reason: "POLICY_VIOLATION",
    violations: [{ field, description }],
  });
}

/** What the engine passes on of a registry gets a reason that programs can switch on. */
function inOwnWords(error: Failure, image: string): Failure {
  if (error.details.reason !== undefined) return error;
  const metadata = { image };
  switch (error.kind) {
    case "not_found":
      return new Failure("not_found", error.message, { reason: "IMAGE_NOT_FOUND", metadata, cause: error });
    case "unavailable":
      return new Failure("unavailable", error.message, {
        reason: "REGISTRY_UNAVAILABLE",
        metadata,
        cause: error,
      });
    case "invalid_argument":
      return new Failure("invalid_argument", error.message, {
        violations: [{ field: "image", description: "is not an image reference that the engine takes" }],
        cause: error,
      });
    default:
      return error;
  }
}

function tooMany(image: string, most: number): Failure {
  return new Failure(
    "resource_exhausted",
    `Cannot pull image "${image}": ${most} are being pulled already, which is the most at once`,
    { reason: "TOO_MANY_PULLS", retryAfterMs: 1_000 },
  );
}
