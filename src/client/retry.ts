import type { DescMethod, Message } from "@bufbuild/protobuf";
import type { Failure } from "../failure.ts";
import { backoffMs } from "./backoff.ts";
import type { Reconnect } from "./client-options.ts";
import { CONNECTION_LOST } from "./status-failure.ts";

/**
 * Whether doing the call twice is the same as doing it once, so that it may be sent again when it is not known whether
 * the server has done it.
 *
 * - what only reads (Get…, List…, Check, HealthCheck) or only waits (Wait…);
 * - what sets a state and answers alike when it is so already: CloseSession, CloseGatewaySession, StopContainer,
 *   PauseContainer, ResumeContainer, Heartbeat;
 * - what carries an idempotency_key, or a session's message with an id, which the server takes once.
 *
 * Not what answers differently the second time (RemoveContainer, Unregister and CancelTask may say that there is
 * nothing any more), nor UpdateSession, which could undo what another did in between.
 */
export function isRepeatable(method: DescMethod, request: Message): boolean {
  if (READS.test(method.name) || SETS.has(method.name)) return true;
  return (
    hasText(request, "idempotencyKey") ||
    (IDS_COUNT.has(method.input.typeName) && hasText(messageOf(request), "id"))
  );
}

const READS = /^(?:(?:Get|List|Wait)[A-Z].*|Check|HealthCheck|List)$/;

const SETS: ReadonlySet<string> = new Set([
  "CloseSession",
  "CloseGatewaySession",
  "StopContainer",
  "PauseContainer",
  "ResumeContainer",
  "Heartbeat",
]);

/** Requests whose message is the same message when it has the same id; an agent's messages make no such promise. */
const IDS_COUNT: ReadonlySet<string> = new Set([
  "proto.orchestrator.v1.SendMessageRequest",
  "proto.gateway.v1.GatewaySendMessageRequest",
]);

/**
 * How long to wait before a repeatable call is sent again that has failed `failures` times in a row, at last with
 * `failure`; milliseconds, or `undefined` when it should be reported.
 *
 * A lost connection is worth it, and so is an UNAVAILABLE that comes from a server that stops or that says when to come
 * again. Any other UNAVAILABLE tells of something behind the server, such as a container engine, that a person should see.
 */
export function repetitionMs(
  failure: Failure,
  {
    failures,
    reconnect,
    random,
  }: { readonly failures: number; readonly reconnect: Reconnect; readonly random: number },
): number | undefined {
  const { reason, retryAfterMs } = failure.details;
  if (failure.kind !== "unavailable") return undefined;
  if (reason !== CONNECTION_LOST && reason !== "SHUTTING_DOWN" && retryAfterMs === undefined)
    return undefined;
  if (reconnect.maxAttempts > 0 && failures > reconnect.maxAttempts) return undefined;
  return Math.max(backoffMs(failures, { maxMs: reconnect.intervalMs, random }), retryAfterMs ?? 0);
}

function messageOf(request: Message): unknown {
  return "message" in request ? request.message : undefined;
}

function hasText(value: unknown, name: string): boolean {
  if (typeof value !== "object" || value === null) return false;
  const text: unknown = Reflect.get(value, name);
  return typeof text === "string" && text !== "";
}
