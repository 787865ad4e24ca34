import { invalid } from "../failure.ts";
import type { UpdateSessionRequest } from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import type {
  ResourceLimits,
  Session,
  SessionConfig,
  SessionMetadata,
  SessionPolicy,
} from "../sessions/session.ts";
import { configOf, metadataOf } from "./wire-session.ts";

/**
 * What an UpdateSession changes. With an update_mask exactly the fields that it names; without one those that are not at
 * their zero value. Failures: INVALID_ARGUMENT for a path that can't be changed.
 */
export function patchOf(request: UpdateSessionRequest): (session: Session) => Session {
  const paths = request.updateMask?.paths;
  for (const path of paths ?? []) {
    if (changeable.some((known) => known === path || known.startsWith(`${path}.`))) continue;
    const description = `has "${path.slice(0, 64)}"; allowed are ${changeable.join(", ")}`;
    throw invalid("update the session", [{ field: "update_mask", description }]);
  }
  const named = (path: string, isZero: boolean) =>
    paths === undefined || paths.length === 0
      ? !isZero
      : paths.some((mask) => mask === path || path.startsWith(`${mask}.`));
  return (session) => patched(session, request, named);
}

type Named = (path: string, isZero: boolean) => boolean;

const changeable = [
  "metadata.name",
  "metadata.description",
  "metadata.labels",
  "metadata.owner_id",
  "metadata.tags",
  "context.current_task_id",
  "context.task_history",
  "context.preferences.timezone",
  "context.preferences.language",
  "context.preferences.theme",
  "context.preferences.notifications",
  "context.config.max_containers",
  "context.config.max_duration_ns",
  "context.config.idle_timeout_ns",
  "context.config.resource_limits.nano_cpu",
  "context.config.resource_limits.memory_bytes",
  "context.config.resource_limits.memory_swap",
  "context.config.resource_limits.pids_limit",
  "context.config.allowed_images",
  "context.config.policy.allow_network",
  "context.config.policy.allowed_networks",
  "context.config.policy.allow_volume_mount",
  "context.config.policy.allowed_paths",
  "context.config.policy.require_approval",
] as const;

function patched(session: Session, request: UpdateSessionRequest, named: Named): Session {
  const { context } = request;
  const { timezone = "", language = "", theme = "", notifications = false } = context?.preferences ?? {};
  const top = { currentTaskId: context?.currentTaskId ?? "", taskHistory: context?.taskHistory ?? [] };
  return {
    ...session,
    ...pick(top, "context", named),
    metadata: patchedMetadata(session.metadata, request, named),
    preferences: {
      ...session.preferences,
      ...pick({ timezone, language, theme, notifications }, "context.preferences", named),
    },
    config: patchedConfig(session.config, request, named),
  };
}

function patchedMetadata(
  metadata: SessionMetadata,
  request: UpdateSessionRequest,
  named: Named,
): SessionMetadata {
  return { ...metadata, ...pick(metadataOf(request.metadata), "metadata", named) };
}

function patchedConfig(config: SessionConfig, request: UpdateSessionRequest, named: Named): SessionConfig {
  const { limits, policy, ...flat } = configOf(request.context?.config);
  const at = "context.config";
  const nextLimits: ResourceLimits = { ...config.limits, ...pick(limits, `${at}.resource_limits`, named) };
  const nextPolicy: SessionPolicy = { ...config.policy, ...pick(policy, `${at}.policy`, named) };
  return { ...config, ...pick(flat, at, named), limits: nextLimits, policy: nextPolicy };
}

/** The fields of `values` that are named under `at`, whose wire names are those in snake_case. */
function pick<Values extends object>(values: Values, at: string, named: Named): Partial<Values> {
  const picked: Partial<Values> = {};
  for (const name in values) {
    const wire = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    if (named(`${at}.${wire}`, isZero(values[name]))) picked[name] = values[name];
  }
  return picked;
}

function isZero(value: unknown): boolean {
  if (Array.isArray(value)) return value.length === 0;
  if (typeof value === "object" && value !== null) return Object.keys(value).length === 0;
  return value === "" || value === 0 || value === 0n || value === false;
}
