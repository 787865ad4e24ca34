import type { Config } from "./settings.ts";

/** Rules between settings: what is wrong with a configuration whose values are each allowed. */
export const rules: readonly Rule[] = [
  {
    of: ["sessions.default-max-containers", "sessions.max-containers"],
    problem: ({ sessions }) =>
      sessions.defaultMaxContainers > sessions.maxContainers
        ? "must not exceed sessions.max-containers"
        : undefined,
  },
  {
    of: ["messages.max-content-bytes", "grpc.max-receive-bytes"],
    problem: ({ messages, grpc }) =>
      messages.maxContentBytes > grpc.maxReceiveBytes
        ? "must not exceed what can be received, grpc.max-receive-bytes"
        : undefined,
  },
  {
    of: ["messages.max-content-bytes", "grpc.max-send-bytes"],
    problem: ({ messages, grpc }) =>
      messages.maxContentBytes > grpc.maxSendBytes
        ? "must not exceed what can be sent, grpc.max-send-bytes"
        : undefined,
  },
  {
    of: ["runtime.stop-grace", "runtime.operation-timeout"],
    problem: ({ runtime }) =>
      runtime.stopGraceMs >= runtime.operationTimeoutMs
        ? "must be shorter than runtime.operation-timeout"
        : undefined,
  },
];

export interface Rule {
  /** The setting that is named as wrong, then the one that it is measured by. */
  readonly of: readonly [string, string];
  /** The end of "it …" that names the second setting last; its value is put behind. */
  problem(config: Config): string | undefined;
}
