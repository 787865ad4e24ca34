import { duration, integer, size } from "./setting.ts";

/** What can be configured of conversations with assistants. */
export const chatSettings = {
  maxWaiting: integer("Questions of one session that wait behind the one that an assistant has.", {
    default: 32,
    min: 1,
    max: 1_000,
  }),
  maxAttempts: integer("How often a question is handed to an assistant before it fails.", {
    default: 3,
    min: 1,
    max: 100,
  }),
  assistantWaitMs: duration(
    "How long a question waits for an assistant that is registered and has no open stream, or that runs beside the server; without one it fails at once.",
    { default: "10s", min: "10ms", max: "1h" },
  ),
  silenceTimeoutMs: duration("How long an assistant that has a question may send nothing for it.", {
    default: "2m",
    min: "10ms",
    max: "1d",
  }),
  turnTimeoutMs: duration("How long an assistant may take for one answer.", {
    default: "15m",
    min: "10ms",
    max: "30d",
  }),
  maxHeldBytes: size("Answers that are being made or stored, of all conversations together.", {
    default: "256MiB",
    min: "64KiB",
    max: "64GiB",
  }),
};
