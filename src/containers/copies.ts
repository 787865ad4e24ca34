import type { Call } from "../call.ts";
import { Failure, type FieldViolation, invalid } from "../failure.ts";
import type { CopyInto, PathStat, RuntimeId } from "../runtime/runtime.ts";
import { type ContainerId, containerTable, knownContainer, madeContainer } from "./container.ts";
import type { ContainerParts } from "./parts.ts";
import { checkedArchive } from "./tar-check.ts";

/** What of a container is copied, or where to. */
export interface CopyPlace {
  readonly containerId: ContainerId;
  /** Absolute. */
  readonly path: string;
  /** The field that has it in the request. */
  readonly field: string;
}

/** The longest path, in UTF-16 units. */
const maxPathLength = 4_096;

/** Files into containers and out of them, as tar archives of any size that nobody holds. */
export class Copies {
  readonly #parts: ContainerParts;
  readonly #stalledMs: number;

  /** @param stalledMs how long an archive may bring nothing before its copy is ended, in milliseconds */
  constructor(parts: ContainerParts, { stalledMs }: { readonly stalledMs: number }) {
    this.#parts = parts;
    this.#stalledMs = stalledMs;
  }

  /**
   * What is at a path; of a symbolic link, the link itself.
   *
   * Failures: INVALID_ARGUMENT, NOT_FOUND (container or path), FAILED_PRECONDITION (being created), UNAVAILABLE (engine).
   */
  async stat(place: CopyPlace, call: Call): Promise<PathStat> {
    const { runtime, times } = this.#parts;
    const id = await this.#reach(place, "look into container");
    const within = AbortSignal.any([call.signal, AbortSignal.timeout(times.operationMs)]);
    const found = await runtime.stat(id, place.path, within);
    if (found === undefined) throw notThere(place);
    return found;
  }

  /**
   * Unpacks an uncompressed tar archive into a folder; gives how many bytes it had.
   *
   * Failures: as `stat`; INVALID_ARGUMENT for what is no archive, FAILED_PRECONDITION when it can't be written there,
   * RESOURCE_EXHAUSTED (too many at once, full disk).
   */
  async copyIn(
    place: CopyPlace & Pick<CopyInto, "overwrite">,
    archive: AsyncIterable<Uint8Array>,
    call: Call,
  ): Promise<number> {
    const id = await this.#reach(place, "copy into container");
    using copy = this.#parts.copying.begin(place.containerId, call.signal);
    const found = await this.stat(place, { ...call, signal: copy.signal });
    const target = found.kind === "link" ? await this.#followed(id, found, call) : found;
    if (target?.kind !== "folder") throw notAFolder(place);
    const checked = checkedArchive(unstalled(archive, this.#stalledMs));
    try {
      await this.#parts.runtime.copyIn(id, place, checked.bytes, copy.signal);
    } catch (error) {
      throw this.#inOwnWords(error, place);
    }
    await this.#parts.touch((await this.#row(place, "copy into container")).sessionId);
    return checked.size();
  }

  /** A file, folder or link: what it is, and the archive. Failures: as `stat`, RESOURCE_EXHAUSTED. */
  async copyOut(
    place: CopyPlace,
    call: Call,
  ): Promise<{ readonly stat: PathStat; readonly archive: AsyncIterable<Uint8Array> }> {
    const stat = await this.stat(place, call);
    const id = await this.#reach(place, "copy from container");
    return { stat, archive: this.#read(id, place, call) };
  }

  async *#read(id: RuntimeId, place: CopyPlace, call: Call): AsyncGenerator<Uint8Array, void, undefined> {
    using copy = this.#parts.copying.begin(place.containerId, call.signal);
    try {
      yield* await this.#parts.runtime.copyOut(id, place.path, copy.signal);
    } catch (error) {
      throw this.#inOwnWords(error, place);
    }
  }

  async #followed(id: RuntimeId, { linkTarget }: PathStat, call: Call): Promise<PathStat | undefined> {
    const within = AbortSignal.any([call.signal, AbortSignal.timeout(this.#parts.times.operationMs)]);
    return await this.#parts.runtime.stat(id, linkTarget, within);
  }

  async #row(place: CopyPlace, doing: string) {
    const { containerId: id } = place;
    return knownContainer(await this.#parts.store.get(containerTable, id), { id, doing });
  }

  async #reach(place: CopyPlace, doing: string): Promise<RuntimeId> {
    const violations = pathViolations(place);
    if (violations.length > 0) throw invalid("copy files", violations);
    const container = await this.#row(place, doing);
    const id = madeContainer(container, doing);
    await this.#parts.touch(container.sessionId);
    return id;
  }

  /** The engine names its own containers, and gives no reasons. */
  #inOwnWords(error: unknown, place: CopyPlace): unknown {
    if (
      !(error instanceof Failure) ||
      error.details.reason !== undefined ||
      error.details.violations !== undefined
    )
      return error;
    const words = error.message.replace(/^Cannot [^:]*: /, "");
    const message = `Cannot copy files of container "${place.containerId}" at "${place.path}": ${words}`;
    switch (error.kind) {
      case "not_found":
        return /no such container/i.test(words)
          ? new Failure("not_found", message, {
              reason: "CONTAINER_NOT_FOUND",
              metadata: { container_id: place.containerId },
              cause: error,
            })
          : notThere(place);
      case "failed_precondition":
        return new Failure("failed_precondition", message, {
          reason: "PATH_NOT_WRITABLE",
          metadata: { path: place.path },
          cause: error,
        });
      case "invalid_argument":
        return new Failure("invalid_argument", message, {
          violations: [{ field: "data", description: `is not a tar archive that can be unpacked: ${words}` }],
          cause: error,
        });
      default:
        return error;
    }
  }
}

/** The same pieces; one that is waited for too long ends it, because the container can't be used in the meantime. */
async function* unstalled(
  archive: AsyncIterable<Uint8Array>,
  stalledMs: number,
): AsyncGenerator<Uint8Array, void, undefined> {
  const pieces = archive[Symbol.asyncIterator]();
  for (;;) {
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => late.reject(stalled(stalledMs)), stalledMs);
    let next: IteratorResult<Uint8Array>;
    try {
      next = await Promise.race([pieces.next(), late.promise]);
    } finally {
      clearTimeout(timer);
    }
    if (next.done === true) return;
    yield next.value;
  }
}

function stalled(stalledMs: number): Failure {
  return new Failure(
    "resource_exhausted",
    `Cannot go on with the copy: nothing of the archive came for ${stalledMs / 1000} s`,
    { reason: "CLIENT_STALLED" },
  );
}

function pathViolations({ path, field }: CopyPlace): readonly FieldViolation[] {
  if (path === "") return [{ field, description: "is missing; name an absolute path" }];
  if (!path.startsWith("/"))
    return [{ field, description: `is "${path.slice(0, 64)}"; it has to be absolute` }];
  if (path.includes("\0")) return [{ field, description: "has a NUL character" }];
  if (path.length > maxPathLength)
    return [{ field, description: `has ${path.length} characters; at most ${maxPathLength} are allowed` }];
  return [];
}

function notThere({ containerId, path }: CopyPlace): Failure {
  return new Failure(
    "not_found",
    `Cannot copy files of container "${containerId}": there is nothing at "${path}" in it`,
    { reason: "PATH_NOT_FOUND", metadata: { path } },
  );
}

function notAFolder({ containerId, path }: CopyPlace): Failure {
  return new Failure(
    "failed_precondition",
    `Cannot copy into container "${containerId}": "${path}" in it is not a folder`,
    { reason: "PATH_NOT_A_FOLDER", metadata: { path } },
  );
}
