import { resolve } from "node:path";
import { create } from "@bufbuild/protobuf";
import { type Mount, MountSchema, MountType } from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { type Flag, type Flags, type FlagValues, filled, problem } from "./flag.ts";

/** What of the host, of volumes and of memory a container has. */
export const mountFlags = {
  volume: mounts({
    about:
      "a path of the host (/data:/in), a volume of the session (cache:/cache) or one of its own (/tmp), :ro for read-only",
    short: "v",
    placeholder: "SOURCE:TARGET[:ro]",
    read: volumeOf,
  }),
  mount: mounts({
    about: "the same in words: type=bind|volume|tmpfs,source=…,target=…,readonly",
    placeholder: "SPEC",
    read: mountOf,
  }),
  tmpfs: mounts({
    about: "a folder of memory",
    placeholder: "TARGET",
    read: (target) => create(MountSchema, { type: MountType.TMPFS, target }),
  }),
} satisfies Flags;

/** The mounts of all of these flags, in the order of the flags. */
export function mountsOf({ volume, mount, tmpfs }: FlagValues<typeof mountFlags>): readonly Mount[] {
  return [...volume, ...mount, ...tmpfs];
}

function mounts(spec: {
  readonly about: string;
  readonly short?: string;
  readonly placeholder: string;
  readonly read: (word: string) => Mount;
}): Flag<readonly Mount[]> {
  const { read, ...rest } = spec;
  return { ...rest, repeats: true, read: (given) => given.map((word) => read(filled(word))) };
}

function volumeOf(word: string): Mount {
  const parts = word.split(":");
  const last = parts.at(-1);
  const mode = parts.length > 1 && (last === "ro" || last === "rw") ? parts.pop() : undefined;
  if (parts.length > 2 || parts.some((part) => part === "")) {
    throw problem(`has to be SOURCE:TARGET or SOURCE:TARGET:ro, not "${word}"`);
  }
  const [first = "", second] = parts;
  const source = second === undefined ? "" : first;
  const isPath = source.startsWith("/") || source.startsWith(".") || source.startsWith("~");
  return create(MountSchema, {
    type: isPath ? MountType.BIND : MountType.VOLUME,
    source: isPath ? hostPath(source) : source,
    target: second ?? first,
    readOnly: mode === "ro",
  });
}

const kinds = { bind: MountType.BIND, volume: MountType.VOLUME, tmpfs: MountType.TMPFS } as const;

function mountOf(word: string): Mount {
  const fields = new Map<string, string>();
  for (const part of word.split(",")) {
    const [name = "", ...value] = part.split("=");
    const known = aliases[name.toLowerCase()];
    if (known === undefined) {
      throw problem(`has "${name}"; type, source, target and readonly are understood`);
    }
    if (fields.has(known)) throw problem(`has ${known} twice`);
    fields.set(known, value.join("="));
  }
  const type = fields.get("type") ?? "volume";
  const kind = Object.entries(kinds).find(([name]) => name === type)?.[1];
  if (kind === undefined) throw problem(`has the type "${type}"; bind, volume and tmpfs are allowed`);
  const target = fields.get("target") ?? "";
  if (target === "") throw problem("has no target");
  const source = fields.get("source") ?? "";
  const readOnly = fields.get("readonly");
  if (readOnly !== undefined && !["", "true", "false"].includes(readOnly)) {
    throw problem(`has readonly=${readOnly}; true and false are allowed`);
  }
  return create(MountSchema, {
    type: kind,
    source: kind === MountType.BIND ? hostPath(source) : source,
    target,
    readOnly: readOnly !== undefined && readOnly !== "false",
  });
}

/** As Docker's command line has them. */
const aliases: Readonly<Record<string, "type" | "source" | "target" | "readonly">> = {
  type: "type",
  source: "source",
  src: "source",
  target: "target",
  dst: "target",
  destination: "target",
  readonly: "readonly",
  ro: "readonly",
};

/** A server runs elsewhere than in this folder. */
function hostPath(source: string): string {
  if (source === "") throw problem("has no source");
  if (source.startsWith("~")) throw problem(`begins with ~, which your shell has left as it is: "${source}"`);
  return resolve(source);
}
