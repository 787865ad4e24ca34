import { Failure, type FailureDetails } from "../failure.ts";
import type { PortHolder, Runtime } from "../runtime/runtime.ts";
import { type Container, engineLabels } from "./container.ts";
import { plainReason } from "./plain-reason.ts";
import { completePort } from "./policy/network-limits.ts";

/** The engine's refusal, said of our container instead of the engine's, and of the field that it is about. */
export async function inOwnWords(
  error: unknown,
  of: { readonly container: Container; readonly runtime: Runtime },
): Promise<unknown> {
  if (!(error instanceof Failure)) return error;
  if (error.details.reason === "PORT_IN_USE") return await portInUse(error, of);
  if (error.details.reason !== undefined) return error;
  const { id, config } = of.container;
  const words = plainReason(error);
  const details = error.kind === "failed_precondition" ? commandDetails(words) : undefined;
  const field = error.kind === "invalid_argument" ? refusedField(words) : undefined;
  const code = details === undefined ? "" : ` (exit code ${details.metadata.exit_code})`;
  return new Failure(
    error.kind,
    `Cannot create container "${id}" of image "${config.image}": ${words}${code}`,
    {
      ...error.details,
      ...details,
      ...(field === undefined
        ? {}
        : { violations: [{ field, description: `is refused by the engine: ${words}` }] }),
      cause: error,
    },
  );
}

/** A command that could not be run, with the code that a shell would end with. */
function commandDetails(
  words: string,
): (FailureDetails & { readonly metadata: { readonly exit_code: string } }) | undefined {
  if (!/^exec:? /.test(words)) return undefined;
  if (/executable file not found|no such file or directory/i.test(words))
    return { reason: "COMMAND_NOT_FOUND", metadata: { exit_code: "127" } };
  if (/permission denied|is a directory|exec format error/i.test(words))
    return { reason: "COMMAND_NOT_EXECUTABLE", metadata: { exit_code: "126" } };
  return undefined;
}

/** Names the port as the request does, and who has it, if that can be found out. */
async function portInUse(
  error: Failure,
  { container, runtime }: { readonly container: Container; readonly runtime: Runtime },
): Promise<Failure> {
  const { config, id } = container;
  const words = plainReason(error);
  const named = Number(error.details.metadata?.port);
  // Engines that name no port in a form that is known have found one of these taken.
  const index = config.ports.findIndex(
    ({ hostPort }) => hostPort > 0 && (hostPort === named || words.includes(`:${hostPort}`)),
  );
  const asked = config.ports[index];
  if (asked === undefined) {
    return new Failure(error.kind, `Cannot create container "${id}": ${words}`, {
      ...error.details,
      cause: error,
    });
  }
  const { hostPort, hostIp, protocol } = completePort(asked);
  const holder = await holderOf(runtime, {
    hostPort,
    protocol: protocol === "udp" || protocol === "sctp" ? protocol : "tcp",
  });
  const who = holder === undefined ? "something on the host" : wordsFor(holder);
  const description = `is ${hostPort}, which ${who} has (${protocol}, ${hostIp})`;
  const field = `config.ports[${index}].host_port`;
  return new Failure(error.kind, `Cannot create container "${id}": ${field} ${description}`, {
    reason: "PORT_IN_USE",
    metadata: {
      port: String(hostPort),
      protocol,
      host_ip: hostIp,
      ...(holder === undefined ? {} : { holder: holder.labels[engineLabels.container] ?? holder.name }),
    },
    violations: [{ field, description }],
    cause: error,
  });
}

/** How long the engine may take to say who has a port, in milliseconds: the refusal is worth more than its reason. */
const holderMs = 5_000;

async function holderOf(
  runtime: Runtime,
  port: Parameters<Runtime["portHolders"]>[0],
): Promise<PortHolder | undefined> {
  try {
    return (await runtime.portHolders(port, AbortSignal.timeout(holderMs)))[0];
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return undefined;
  }
}

function wordsFor({ name, labels }: PortHolder): string {
  const ours = labels[engineLabels.container];
  return ours === undefined
    ? `the engine's container "${name}"`
    : `container "${ours}" of session "${labels[engineLabels.session]}"`;
}

/** Engines name no field; their words tell which it is. */
function refusedField(words: string): string {
  const known = [
    [/memory\s?swap/i, "config.resource_limits.memory_swap"],
    [/memory/i, "config.resource_limits.memory_bytes"],
    [/cpu/i, "config.resource_limits.nano_cpu"],
    [/pids/i, "config.resource_limits.pids_limit"],
    [/restart|retry count/i, "config.restart_policy"],
    [/no command/i, "config.command"],
    [/mount|destination/i, "config.mounts"],
    [/reference format|image/i, "config.image"],
    [/working directory/i, "config.working_dir"],
  ] as const;
  return known.find(([pattern]) => pattern.test(words))?.[1] ?? "config";
}
