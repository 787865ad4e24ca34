import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  ContainerConfigSchema,
  type PullPolicy,
  PullPolicySchema,
  RestartPolicySchema,
} from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import {
  choice,
  type Flags,
  type FlagValues,
  json,
  list,
  pairs,
  problem,
  text,
  toggle,
  withDefault,
} from "./flag.ts";
import { limitFlags, limitsOf } from "./limit-flags.ts";
import { configMessage } from "./proto-json.ts";
import { enumNumber } from "./words.ts";

/** For the help of what can be asked for already and is not served yet. */
export const NOT_YET = "not in this version, which answers UNIMPLEMENTED when a container is created with it";

/** What a container is made with. */
export const containerFlags = {
  env: pairs({ about: "a variable of the environment", short: "e" }),
  workdir: text({ about: "the folder that the command starts in", short: "w", placeholder: "PATH" }),
  label: pairs({ about: "a label that is handed to the engine", short: "l" }),
  ...limitFlags,
  pull: withDefault(
    choice({ about: "when the image is fetched", choices: ["missing", "never", "always"] }),
    "missing",
  ),
  keepEntrypoint: toggle({
    about: "give COMMAND to the image's entrypoint instead of running it in its place",
  }),
  readOnly: toggle({ about: "make the container's own file system read-only" }),
  config: json({
    about: "the whole ContainerConfig as the API's JSON, for mounts, ports and the rest; the other flags win",
  }),
} satisfies Flags;

interface Wanted {
  readonly flags: FlagValues<typeof containerFlags>;
  readonly image: string;
  readonly command: readonly string[];
}

/** The configuration of `--config` with the other flags over it. */
export function containerConfigOf({
  flags,
  image,
  command,
}: Wanted): MessageInitShape<typeof ContainerConfigSchema> {
  const base = configMessage(ContainerConfigSchema, flags.config);
  const limits = limitsOf(flags, base.resourceLimits);
  return create(ContainerConfigSchema, {
    ...base,
    image,
    ...(command.length === 0
      ? {}
      : flags.keepEntrypoint
        ? { args: [...command] }
        : { command: [...command], args: [] }),
    env: { ...base.env, ...flags.env },
    labels: { ...base.labels, ...flags.label },
    workingDir: flags.workdir ?? base.workingDir,
    readOnlyRootfs: flags.readOnly || base.readOnlyRootfs,
    ...(limits && { resourceLimits: limits }),
  });
}

export function pullPolicyOf({ pull }: Pick<FlagValues<typeof containerFlags>, "pull">): PullPolicy {
  return enumNumber(PullPolicySchema, pull);
}

/** The flags of `container create` alone: a container of `run` is gone when its command is. */
export const lastingFlags = {
  restart: choice({
    about: "what happens when its command ends",
    choices: ["no", "on-failure", "always", "unless-stopped"],
    placeholder: "POLICY",
  }),
  removeOnStop: toggle({ about: "remove it when its command has ended" }),
  network: list({
    about: `a further network; has to be in the session's allowed networks; ${NOT_YET}`,
    placeholder: "NAME",
  }),
} satisfies Flags;

export function lastingConfigOf(
  config: MessageInitShape<typeof ContainerConfigSchema>,
  flags: FlagValues<typeof lastingFlags>,
): MessageInitShape<typeof ContainerConfigSchema> {
  if (flags.restart !== undefined && flags.restart !== "no" && flags.removeOnStop) {
    throw problem("only one of --restart and --remove-on-stop can hold");
  }
  return {
    ...config,
    ...(flags.removeOnStop && { removeOnStop: true }),
    ...(flags.network.length > 0 && { networks: [...flags.network] }),
    ...(flags.restart !== undefined && {
      restartPolicy: create(RestartPolicySchema, { name: flags.restart }),
    }),
  };
}
