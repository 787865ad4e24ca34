import { expect, test } from "bun:test";
import { create, type DescMethod, type MessageInitShape } from "@bufbuild/protobuf";
import { isRepeatable, repetitionMs } from "../../src/client/retry.ts";
import { Failure } from "../../src/failure.ts";
import { Health } from "../../src/gen/grpc/health/v1/health_pb.ts";
import { AgentService } from "../../src/gen/proto/agent/v1/agent_pb.ts";
import { OrchestratorService } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";

const orchestrator = OrchestratorService.method;
const agent = AgentService.method;

function repeatable<M extends DescMethod>(method: M, request: MessageInitShape<M["input"]>): boolean {
  return isRepeatable(method, create(method.input, request));
}

test("isRepeatable() says yes to what reads, waits, or sets what may be set already", () => {
  expect(repeatable(orchestrator.getSession, {})).toBe(true);
  expect(repeatable(orchestrator.listMessages, {})).toBe(true);
  expect(repeatable(orchestrator.waitContainer, {})).toBe(true);
  expect(repeatable(orchestrator.healthCheck, {})).toBe(true);
  expect(repeatable(orchestrator.closeSession, {})).toBe(true);
  expect(repeatable(orchestrator.stopContainer, {})).toBe(true);
  expect(repeatable(agent.heartbeat, {})).toBe(true);
  expect(repeatable(Health.method.check, {})).toBe(true);
});

test("isRepeatable() says no to what would be done twice, or answered otherwise the second time", () => {
  expect(repeatable(orchestrator.createSession, {})).toBe(false);
  expect(repeatable(orchestrator.sendMessage, { message: { content: "hi" } })).toBe(false);
  expect(repeatable(orchestrator.updateSession, {})).toBe(false);
  expect(repeatable(orchestrator.removeContainer, {})).toBe(false);
  expect(repeatable(agent.cancelTask, {})).toBe(false);
  expect(repeatable(agent.register, {})).toBe(false);
  expect(repeatable(agent.sendMessage, { message: { id: "m" } })).toBe(false);
});

test("isRepeatable() says yes to a write that carries a key or a message id", () => {
  expect(repeatable(orchestrator.createSession, { idempotencyKey: "k" })).toBe(true);
  expect(repeatable(orchestrator.createContainer, { idempotencyKey: "k" })).toBe(true);
  expect(repeatable(orchestrator.sendMessage, { message: { id: "m" } })).toBe(true);
});

const lost = new Failure("unavailable", "lost", { reason: "CONNECTION_LOST" });
const forever = { intervalMs: 5000, maxAttempts: 0 };

test("repetitionMs() repeats a lost connection without end, or as often as it may", () => {
  expect(repetitionMs(lost, { failures: 1, reconnect: forever, random: 1 })).toBe(50);
  expect(repetitionMs(lost, { failures: 500, reconnect: forever, random: 1 })).toBe(5000);
  expect(repetitionMs(lost, { failures: 2, reconnect: { ...forever, maxAttempts: 2 }, random: 1 })).toBe(100);
  expect(
    repetitionMs(lost, { failures: 3, reconnect: { ...forever, maxAttempts: 2 }, random: 1 }),
  ).toBeUndefined();
});

test("repetitionMs() comes no sooner than the server asks", () => {
  const busy = new Failure("unavailable", "starting", { retryAfterMs: 7000 });
  expect(repetitionMs(busy, { failures: 1, reconnect: forever, random: 1 })).toBe(7000);
});

test("repetitionMs() reports what repeating does not mend", () => {
  for (const failure of [
    new Failure("unavailable", "no engine", { reason: "RUNTIME_UNREACHABLE" }),
    new Failure("resource_exhausted", "too many", { retryAfterMs: 10 }),
    new Failure("internal", "defect"),
  ]) {
    expect(repetitionMs(failure, { failures: 1, reconnect: forever, random: 1 })).toBeUndefined();
  }
});
