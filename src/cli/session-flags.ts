import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  SessionConfigSchema,
  type SessionMetadataSchema,
  type SessionPolicy,
  SessionPolicySchema,
} from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { NOT_YET } from "./container-flags.ts";
import { duration, type Flags, type FlagValues, int, json, list, pairs, text, toggle } from "./flag.ts";
import { limitFlags, limitsOf, nanoseconds } from "./limit-flags.ts";
import { configMessage } from "./proto-json.ts";

/** What is said about a session. */
export const sessionMetadataFlags = {
  name: text({ about: "a name for people", short: "n" }),
  description: text({ about: "what it is for" }),
  owner: text({ about: "whose session it is" }),
  label: pairs({ about: "a label that filters can compare and events carry", short: "l" }),
  tag: list({ about: "a tag" }),
} satisfies Flags;

/** What bounds a session. */
export const sessionConfigFlags = {
  maxContainers: int({ about: "containers at one time", min: 1 }),
  maxDuration: duration({ about: "how long it may last, used or not" }),
  idleTimeout: duration({ about: "how long it may be idle" }),
  ...limitFlags,
  allowImage: list({ about: "an image that may be used, * for any text", placeholder: "IMAGE" }),
  allowNetwork: toggle({ about: `give it a network of its own; ${NOT_YET}` }),
  allowVolumeMount: toggle({ about: `allow bind and volume mounts; ${NOT_YET}` }),
  allowPath: list({
    about: "a host path at or under which mounts may begin",
    placeholder: "PATH",
    completes: "folder",
  }),
  config: json({ about: "the whole SessionConfig as the API's JSON; the flags above win" }),
} satisfies Flags;

export function metadataOf(
  flags: FlagValues<typeof sessionMetadataFlags>,
): MessageInitShape<typeof SessionMetadataSchema> {
  return {
    name: flags.name ?? "",
    description: flags.description ?? "",
    ownerId: flags.owner ?? "",
    labels: flags.label,
    tags: [...flags.tag],
  };
}

/** The configuration of `--config` with the other flags over it. */
export function configOf(
  flags: FlagValues<typeof sessionConfigFlags>,
): MessageInitShape<typeof SessionConfigSchema> {
  const base = configMessage(SessionConfigSchema, flags.config);
  const policy = policyOf(flags, base.policy);
  const resourceLimits = limitsOf(flags, base.resourceLimits);
  return {
    maxContainers: flags.maxContainers ?? base.maxContainers,
    maxDurationNs: flags.maxDuration === undefined ? base.maxDurationNs : nanoseconds(flags.maxDuration),
    idleTimeoutNs: flags.idleTimeout === undefined ? base.idleTimeoutNs : nanoseconds(flags.idleTimeout),
    allowedImages: flags.allowImage.length > 0 ? [...flags.allowImage] : base.allowedImages,
    ...(resourceLimits && { resourceLimits }),
    ...(policy && { policy }),
  };
}

function policyOf(
  { allowNetwork, allowVolumeMount, allowPath }: FlagValues<typeof sessionConfigFlags>,
  base: SessionPolicy | undefined,
): SessionPolicy | undefined {
  if (!allowNetwork && !allowVolumeMount && allowPath.length === 0) return base;
  return create(SessionPolicySchema, {
    allowNetwork: allowNetwork || base?.allowNetwork === true,
    allowedNetworks: base?.allowedNetworks ?? [],
    allowVolumeMount: allowVolumeMount || base?.allowVolumeMount === true,
    allowedPaths: allowPath.length > 0 ? [...allowPath] : (base?.allowedPaths ?? []),
    requireApproval: base?.requireApproval === true,
  });
}
