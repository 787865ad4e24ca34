import type { AssistantConfig } from "../../src/assistant/assistant-config.ts";

/** What an assistant is told when nothing is said. */
export function assistantConfig(more: Partial<AssistantConfig> = {}): AssistantConfig {
  return {
    provider: "auto",
    baseUrl: "http://127.0.0.1:9/v1",
    model: "",
    key: "",
    keyFile: "",
    modelRetries: 0,
    instructions: "",
    maxContextTokens: 16_384,
    maxAnswerTokens: 4_096,
    maxAnswerBytes: 1024 * 1024,
    maxSteps: 16,
    turnTimeoutMs: 60_000,
    maxTurns: 100,
    image: "busybox",
    toolTimeoutMs: 60_000,
    maxToolOutputBytes: 16 * 1024,
    drainTimeoutMs: 10_000,
    ...more,
  };
}
