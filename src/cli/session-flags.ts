import { resolve } from "node:path";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  SessionConfigSchema,
  type SessionMetadataSchema,
  type SessionPolicy,
  SessionPolicySchema,
} from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
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
  allowNetwork: toggle({ about: "give it a network of its own, and with it what the host reaches" }),
  joinNetwork: list({
    about: "a network of the engine that its containers may join too; allows a network",
    placeholder: "NAME",
  }),
  allowVolumeMount: toggle({ about: "allow volumes, and bind mounts of what --allow-path names" }),
  allowPath: list({
    about: "a host path at or under which bind mounts may begin; allows mounts",
    placeholder: "PATH",
    completes: "folder",
  }),
  requireApproval: toggle({ about: "let containers wait until they are approved" }),
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
  flags: FlagValues<typeof sessionConfigFlags>,
  base: SessionPolicy | undefined,
): SessionPolicy | undefined {
  const { joinNetwork, requireApproval } = flags;
  const allowedPaths = flags.allowPath.map((path) => resolve(path));
  const allowNetwork = flags.allowNetwork || joinNetwork.length > 0;
  const allowVolumeMount = flags.allowVolumeMount || allowedPaths.length > 0;
  if (!allowNetwork && !allowVolumeMount && !requireApproval) return base;
  return create(SessionPolicySchema, {
    allowNetwork: allowNetwork || base?.allowNetwork === true,
    allowedNetworks: joinNetwork.length > 0 ? [...joinNetwork] : (base?.allowedNetworks ?? []),
    allowVolumeMount: allowVolumeMount || base?.allowVolumeMount === true,
    allowedPaths: allowedPaths.length > 0 ? allowedPaths : (base?.allowedPaths ?? []),
    requireApproval: requireApproval || base?.requireApproval === true,
  });
}
