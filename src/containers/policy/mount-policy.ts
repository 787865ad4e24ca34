import type { MountSpec } from "../../runtime/runtime.ts";
import type { Session } from "../../sessions/session.ts";
import type { MountConfig } from "../container.ts";
import { volumeName } from "../container.ts";
import { normalPath } from "./mount-limits.ts";
import type { Refusal } from "./refusal.ts";

/** What was found at the source of a bind mount when it was looked for. */
export type FoundPath =
  | {
      readonly kind: "there";
      /** Without symbolic links. */
      readonly path: string;
      /** What it is or holds that no container gets, in words that follow "is" or "holds"; empty when nothing. */
      readonly guarded: string;
    }
  | { readonly kind: "missing" }
  /** It can't be looked at, with the reason. */
  | { readonly kind: "hidden"; readonly reason: string };

/** A place of the host that no container gets, whatever policy says. */
export interface GuardedPath {
  readonly path: string;
  /** In words: `the container engine's socket`. */
  readonly what: string;
}

/** The mounts as the engine is to make them, with an entry of `refusals` for each reason why not. */
export function mountsFor(
  mounts: readonly MountConfig[],
  options: {
    readonly session: Pick<Session, "id" | "config">;
    /** The server's own bound on bind mounts. */
    readonly allowedPaths: readonly string[];
    /** By the sources of bind mounts. */
    readonly paths: ReadonlyMap<string, FoundPath>;
    readonly guarded: readonly GuardedPath[];
  },
): { readonly mounts: readonly MountSpec[]; readonly refusals: readonly Refusal[] } {
  const { session } = options;
  const refusals: Refusal[] = [];
  const made = mounts.map((mount, index): MountSpec => {
    const { type, source, readOnly } = mount;
    const target = normalPath(mount.target);
    const at = `config.mounts[${index}]`;
    if (type === "tmpfs") return { kind: "tmpfs", target, readOnly };
    if (!session.config.policy.allowVolumeMount) {
      const description = `is a ${type}: the session's policy has no allow_volume_mount`;
      refusals.push({ kind: "denied", field: at, description });
    } else if (type === "bind") {
      const refusal = bindRefusal(source, options);
      if (refusal !== undefined) refusals.push({ ...refusal, field: `${at}.source` });
    }
    if (type === "bind") {
      const found = options.paths.get(source);
      return { kind: "bind", source: found?.kind === "there" ? found.path : source, target, readOnly };
    }
    return { kind: "volume", source: source === "" ? "" : volumeName(session.id, source), target, readOnly };
  });
  return { mounts: made, refusals };
}

function bindRefusal(
  source: string,
  options: Parameters<typeof mountsFor>[1],
): Pick<Refusal, "kind" | "description"> | undefined {
  const { session, allowedPaths, guarded } = options;
  const found = options.paths.get(source) ?? { kind: "hidden", reason: "it was not looked at" };
  const shown = source.slice(0, 128);
  if (found.kind === "hidden") return { kind: "denied", description: `is "${shown}": ${found.reason}` };
  // What is not there is judged by its words, so that nobody learns what is where they may not look.
  const path = found.kind === "there" ? found.path : normalPath(source);
  const whence = path === normalPath(source) ? `is "${shown}"` : `is "${shown}", which leads elsewhere`;
  if (!isWithin(path, session.config.policy.allowedPaths)) {
    const allowed = session.config.policy.allowedPaths.slice(0, 8).join(", ") || "none";
    return {
      kind: "denied",
      description: `${whence}: not at or under the session's allowed_paths (${allowed})`,
    };
  }
  if (!isWithin(path, allowedPaths)) {
    return { kind: "denied", description: `${whence}: the server's runtime.allowed-paths do not have it` };
  }
  const guard = guarded.find((one) => isUnder(path, one.path) || isUnder(one.path, path));
  if (guard !== undefined) {
    const how = isUnder(path, guard.path) ? "is" : "holds";
    return {
      kind: "denied",
      description: `is "${shown}", which ${how} ${guard.what}: no container gets that`,
    };
  }
  if (found.kind === "missing") {
    return { kind: "invalid", description: `is "${shown}", which is not there` };
  }
  if (found.guarded === "") return undefined;
  return { kind: "denied", description: `is "${shown}", which ${found.guarded}: no container gets that` };
}

/** Links in the allowed paths are not followed: who could put one there would widen what is allowed. */
function isWithin(path: string, allowed: readonly string[]): boolean {
  return allowed.some((one) => isUnder(path, normalPath(one)));
}

/** Whether a path is `root` or lies below it. */
function isUnder(path: string, root: string): boolean {
  return path === root || path.startsWith(root === "/" ? "/" : `${root}/`);
}
