import { posix } from "node:path";
import type { FieldViolation } from "../../failure.ts";
import type { MountConfig } from "../container.ts";
import { hasNul, maxPathLength, pathViolations } from "./path-limits.ts";

const maxMounts = 64;

/** What is wrong with mounts as such, whatever the policy is. */
export function mountViolations(mounts: readonly MountConfig[]): readonly FieldViolation[] {
  if (mounts.length > maxMounts) {
    const description = `has ${mounts.length} entries; at most ${maxMounts} are allowed`;
    return [{ field: "config.mounts", description }];
  }
  return [
    ...mounts.flatMap((mount, index) => {
      const at = `config.mounts[${index}]`;
      return [...targetViolations(mount.target, `${at}.target`), ...sourceViolations(mount, at)];
    }),
    ...overEachOther(mounts),
  ];
}

/** A path without `.`, `..`, doubled slashes and one at its end. */
export function normalPath(path: string): string {
  return posix.normalize(`${path}/`).slice(0, -1) || "/";
}

function targetViolations(target: string, field: string): readonly FieldViolation[] {
  if (target === "") return [{ field, description: "is empty; name a path" }];
  const wrong = pathViolations(target, field);
  if (wrong.length > 0) return wrong;
  const path = normalPath(target);
  if (path === "/") return [{ field, description: "is the root" }];
  const own = ["/proc", "/sys", "/dev"].find((folder) => path === folder || path.startsWith(`${folder}/`));
  if (own === undefined || path === "/dev/shm") return [];
  return [{ field, description: `is in ${own}, which is the container's own system; /dev/shm is allowed` }];
}

function sourceViolations({ type, source }: MountConfig, at: string): readonly FieldViolation[] {
  const field = `${at}.source`;
  switch (type) {
    case "unspecified":
      return [{ field: `${at}.type`, description: "is missing; BIND, VOLUME and TMPFS are allowed" }];
    case "tmpfs":
      return source === "" ? [] : [{ field, description: "is for BIND and VOLUME; TMPFS has none" }];
    case "bind":
      if (source === "") return [{ field, description: "is empty; name a path of the host" }];
      return pathViolations(source, field);
    case "volume":
      if (source.length > maxPathLength || hasNul(source))
        return [{ field, description: "is too long or has a NUL character" }];
      if (source === "" || /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}$/.test(source)) return [];
      return [
        {
          field,
          description: `is "${source.slice(0, 64)}", which is not the name of a volume: up to 64 letters, digits, _, . and -`,
        },
      ];
  }
}

function overEachOther(mounts: readonly MountConfig[]): readonly FieldViolation[] {
  const first = new Map<string, number>();
  return mounts.flatMap(({ target }, index) => {
    const path = normalPath(target);
    const before = first.get(path);
    if (before === undefined) first.set(path, index);
    if (before === undefined || path === "/") return []; // the root is wrong anyhow
    const both = (one: number, other: number) => ({
      field: `config.mounts[${one}].target`,
      description: `is "${mounts[one]?.target.slice(0, 64)}", the same place as config.mounts[${other}].target`,
    });
    return [both(before, index), both(index, before)];
  });
}
