import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  ContainerConfigSchema,
  type PullPolicy,
  PullPolicySchema,
  type RestartPolicy,
  RestartPolicySchema,
} from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import {
  choice,
  type Flag,
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
import { mountFlags, mountsOf } from "./mount-flags.ts";
import { publishFlag } from "./network-flags.ts";
import { configMessage } from "./proto-json.ts";
import { enumNumber } from "./words.ts";

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
  ...mountFlags,
  publish: publishFlag,
  readOnly: toggle({ about: "make the container's own file system read-only" }),
  config: json({
    about:
      "the whole ContainerConfig as the API's JSON; the other flags win, and add to its mounts and ports",
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
    mounts: [...base.mounts, ...mountsOf(flags)],
    ports: [...base.ports, ...flags.publish],
    readOnlyRootfs: flags.readOnly || base.readOnlyRootfs,
    ...(limits && { resourceLimits: limits }),
  });
}

export function pullPolicyOf({ pull }: Pick<FlagValues<typeof containerFlags>, "pull">): PullPolicy {
  return enumNumber(PullPolicySchema, pull);
}

const restartFlag: Flag<RestartPolicy | undefined> = {
  about:
    "what happens when its command ends: no, always, unless-stopped, or on-failure, at most N times with :N",
  placeholder: "POLICY[:N]",
  repeats: false,
  read: (given) => {
    const word = given.at(-1);
    if (word === undefined) return undefined;
    const [, name, times] = /^(no|always|unless-stopped|on-failure)(?::(\d{1,6}))?$/.exec(word) ?? [];
    if (name === undefined || (times !== undefined && name !== "on-failure")) {
      throw problem(`has to be no, always, unless-stopped, on-failure or on-failure:N, not "${word}"`);
    }
    return create(RestartPolicySchema, { name, maximumRetryCount: Number(times ?? 0) });
  },
};

/** The flags of `container create` alone: a container of `run` is gone when its command is. */
export const lastingFlags = {
  name: text({
    about: "how the session's other containers find it, and its hostname: a-z, 0-9 and -",
    short: "n",
    placeholder: "NAME",
  }),
  restart: restartFlag,
  rm: toggle({ about: "remove it when its command has ended" }),
  removeOnStop: toggle({ about: "the same as --rm" }),
  network: list({
    about:
      "none, or bridge for the session's own network (default: as the session has it); or a further network that it allows",
    placeholder: "NAME",
  }),
} satisfies Flags;

export function lastingConfigOf(
  config: MessageInitShape<typeof ContainerConfigSchema>,
  flags: FlagValues<typeof lastingFlags>,
): MessageInitShape<typeof ContainerConfigSchema> {
  const remove = flags.rm || flags.removeOnStop;
  if (flags.restart !== undefined && flags.restart.name !== "no" && remove) {
    throw problem("only one of --restart and --rm can hold");
  }
  const modes = flags.network.filter((name) => name === "none" || name === "bridge");
  if (modes.length > 1) throw problem(`only one of --network ${modes.join(" and --network ")} can hold`);
  const further = flags.network.filter((name) => name !== "none" && name !== "bridge");
  return {
    ...config,
    ...(flags.name !== undefined && { name: flags.name }),
    ...(remove && { removeOnStop: true }),
    ...(modes[0] !== undefined && { networkMode: modes[0] }),
    ...(further.length > 0 && { networks: further }),
    ...(flags.restart !== undefined && { restartPolicy: flags.restart }),
  };
}
