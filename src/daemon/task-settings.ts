import { duration, integer, size } from "./setting.ts";

/** What can be configured of tasks. */
export const taskSettings = {
  maxQueued: integer("Tasks that wait for an agent.", { default: 1_000_000, min: 1, max: 100_000_000 }),
  maxConfigLength: integer("Characters of a task's config, all of its texts together, without input_data.", {
    default: 262_144,
    min: 1_024,
    max: 16_777_216,
  }),
  maxInputDataBytes: size("The input_data of one task.", { default: "16MiB", min: "1KiB", max: "512MiB" }),
  maxOutputBytes: size(
    "The output of one task that is kept: the first of it. The rest goes to those who read it live.",
    {
      default: "16MiB",
      min: "4KiB",
      max: "16GiB",
    },
  ),
  maxInputBytes: size(
    "The input of one task's callers that is kept for its attempts. The rest waits for its worker to read it.",
    { default: "16MiB", min: "4KiB", max: "16GiB" },
  ),
  maxResultBytes: size("Each kind of output that a result itself holds; what is more is cut.", {
    default: "4MiB",
    min: "1KiB",
    max: "128MiB",
  }),
  maxStreams: integer("Streams at once on one task.", { default: 64, min: 2, max: 10_000 }),
  maxRetries: integer("The most retries that a task may ask for.", { default: 100, min: 0, max: 10_000 }),
  defaultTimeoutMs: duration("How long an attempt of a task may run that sets no timeout_ns.", {
    default: "24h",
    min: "1s",
    max: "3650d",
    zero: "without end",
  }),
  defaultDeadlineMs: duration(
    "How long after its acceptance a task ends, whether it waits or runs, that sets no deadline_ns.",
    { default: "7d", min: "1s", max: "3650d", zero: "never" },
  ),
  beginTimeoutMs: duration("How long a task that was handed to an agent may wait to be begun by it.", {
    default: "5m",
    min: "100ms",
    max: "1d",
  }),
  reconnectGraceMs: duration(
    "How long a worker has to open a task's stream again that has ended too early.",
    {
      default: "10s",
      min: "10ms",
      max: "1h",
    },
  ),
  restartGraceMs: duration("The same after a start of the server.", {
    default: "30s",
    min: "10ms",
    max: "1h",
  }),
  cancelGraceMs: duration("How long a worker has to give up a task that was cancelled.", {
    default: "5s",
    max: "1h",
  }),
  retryDelayMs: duration(
    "The pause before a task that failed is tried again; doubled for each further time.",
    {
      default: "500ms",
      min: "1ms",
      max: "1h",
    },
  ),
  maxRetryDelayMs: duration("The longest of these pauses.", { default: "60s", min: "1ms", max: "1d" }),
  readPatienceMs: duration(
    "How long a worker waits for a reader of what is not kept that has stopped; then it goes on.",
    { default: "10s", min: "10ms", max: "10m" },
  ),
  ageingMs: duration(
    "After how long without its turn a session's waiting tasks rise by one priority, so that none waits for ever.",
    { default: "60s", min: "10ms", max: "30d" },
  ),
};
