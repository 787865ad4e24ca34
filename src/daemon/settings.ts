import { agentSettings } from "./agent-settings.ts";
import { assistantSettings } from "./assistant-settings.ts";
import { chatSettings } from "./chat-settings.ts";
import { choice, duration, integer, number, path, type Setting, size, text } from "./setting.ts";
import {
  blankProblem,
  dataDir,
  dockerHostProblem,
  marksProblem,
  pathListProblem,
  socketPathProblem,
} from "./setting-checks.ts";
import { taskSettings } from "./task-settings.ts";
import { workerSettings } from "./worker-settings.ts";

/**
 * Everything that can be configured. The shape is that of `Config`; names follow from it: `grpc.socketPath` is
 * `grpc.socket-path` in a file and `BAAAHT_GRPC_SOCKET_PATH` in the environment, and durations drop their `Ms`.
 */
export const settings = {
  dataDir: path("Where sessions, messages and the log are kept; one server a folder.", {
    default: {
      doc: "/var/lib/baaaht for root, else $XDG_DATA_HOME/baaaht or ~/.local/share/baaaht",
      of: dataDir,
    },
    flag: "data-dir",
  }),
  shutdownTimeoutMs: duration("How long a stopping server waits for calls in progress before it ends them.", {
    default: "10s",
    max: "1h",
    flag: "shutdown-timeout",
  }),

  grpc: {
    socketPath: path("The Unix socket that the server listens on and the command line connects to.", {
      default: "/tmp/baaaht-grpc.sock",
      environment: ["GRPC_SOCKET_PATH"],
      flag: "grpc-socket-path",
      check: socketPathProblem,
    }),
    maxReceiveBytes: size("The largest request message that is accepted.", {
      default: "100MiB",
      min: "64KiB",
      max: "1GiB",
    }),
    maxSendBytes: size("The largest response message that is sent.", {
      default: "100MiB",
      min: "64KiB",
      max: "1GiB",
    }),
    connectionTimeoutMs: duration(
      "How long a connection may be silent when it is opened, and when it is asked for a sign of life.",
      {
        default: "30s",
        min: "100ms",
        max: "1h",
      },
    ),
    stalledStreamTimeoutMs: duration(
      "How long a client may leave a stream unread before it is ended with RESOURCE_EXHAUSTED and its cursor.",
      { default: "30s", min: "100ms", max: "24h" },
    ),
    keepaliveIntervalMs: duration("How often an idle connection is asked for a sign of life.", {
      default: "5s",
      min: "100ms",
      max: "1h",
    }),
  },

  docker: {
    host: text(
      "The container engine: unix:///path, tcp://host:port, or empty to look in the usual places of Docker, then of Podman. TLS as DOCKER_TLS_VERIFY and DOCKER_CERT_PATH say.",
      { default: "", environment: ["DOCKER_HOST"], flag: "docker-host", check: dockerHostProblem },
    ),
  },

  log: {
    level: choice("The least important lines that are still written.", {
      of: ["debug", "info", "warn", "error"],
      default: "info",
      flag: "log-level",
      reloadable: true,
    }),
    format: choice("How lines are written to stderr; auto is text on a terminal and JSON lines otherwise.", {
      of: ["auto", "text", "json"],
      default: "auto",
      flag: "log-format",
    }),
  },

  limits: {
    maxConnections: integer("Client connections at once.", { default: 2_000, min: 1, max: 100_000 }),
    maxCalls: integer("Calls in progress at once, over all connections; streams are what makes them many.", {
      default: 10_000,
      min: 1,
      max: 1_000_000,
    }),
    maxPageSize: integer("The most entries that one List call returns; a larger page_size gets this many.", {
      default: 1_000,
      min: 1,
      max: 100_000,
    }),
    maxIdempotencyKeyLength: integer("Characters of an idempotency key.", {
      default: 256,
      min: 36,
      max: 4_096,
    }),
  },

  sessions: {
    maxSessions: integer("Sessions that are not closed.", { default: 100_000, min: 1, max: 10_000_000 }),
    maxNameLength: integer("Characters of a session's name or owner.", {
      default: 256,
      min: 36,
      max: 65_536,
    }),
    maxDescriptionLength: integer("Characters of a session's description.", {
      default: 4_096,
      min: 0,
      max: 1_048_576,
    }),
    maxLabels: integer("Labels of a session or a container.", { default: 64, min: 0, max: 4_096 }),
    maxLabelKeyLength: integer("Characters of a label's key.", { default: 128, min: 1, max: 4_096 }),
    maxLabelValueLength: integer("Characters of a label's value.", { default: 1_024, min: 1, max: 65_536 }),
    maxTags: integer("Tags of a session.", { default: 64, min: 0, max: 4_096 }),
    maxTagLength: integer("Characters of a tag.", { default: 128, min: 1, max: 4_096 }),
    defaultMaxContainers: integer("Containers at once of a session that asks for no number.", {
      default: 10,
      min: 1,
      max: 100_000,
    }),
    maxContainers: integer("The most containers at once that a session may ask for.", {
      default: 1_000,
      min: 1,
      max: 100_000,
    }),
    defaultIdleTimeoutMs: duration(
      "When a session without activity is closed, if it asks for nothing else.",
      { default: "0", min: "1s", max: "3650d", zero: "never" },
    ),
    defaultMaxDurationMs: duration(
      "When a session is closed however active it is, if it asks for nothing else.",
      { default: "0", min: "1s", max: "3650d", zero: "never" },
    ),
    expiringNoticeMs: duration("How long before a session's end SESSION_EXPIRING tells of it.", {
      default: "60s",
      max: "1d",
    }),
  },

  messages: {
    maxContentBytes: size("The content of one message, in UTF-8.", {
      default: "16MiB",
      min: "1KiB",
      max: "1GiB",
    }),
    maxPerSession: integer("Messages of one session.", { default: 10_000_000, min: 1, max: 1_000_000_000 }),
  },

  events: {
    memoryCount: integer(
      "How many of the newest events are kept in memory for readers at the tail; those behind read from disk.",
      { default: 8_192, min: 64, max: 1_000_000 },
    ),
    memoryBytes: size("How much memory these may take: fewer are kept when they are large.", {
      default: "64MiB",
      min: "64KiB",
      max: "64GiB",
    }),
  },

  retention: {
    eventsMaxAgeMs: duration("How long events are kept.", {
      default: "7d",
      min: "1s",
      max: "3650d",
      zero: "for ever",
      reloadable: true,
    }),
    eventsMaxCount: integer("How many events are kept.", {
      default: 10_000_000,
      min: 1_000,
      max: 1_000_000_000,
      reloadable: true,
    }),
    eventsMaxBytes: size("How much text of events is kept; the oldest go first.", {
      default: "4GiB",
      min: "64KiB",
      max: "64TiB",
      reloadable: true,
    }),
    closedSessionsMs: duration("How long a closed session and its messages can still be read.", {
      default: "30d",
      min: "1s",
      max: "3650d",
      zero: "for ever",
      reloadable: true,
    }),
    endedTasksMs: duration("How long a task that has ended, and its output, can still be read.", {
      default: "7d",
      min: "1s",
      max: "3650d",
      zero: "for ever",
      reloadable: true,
    }),
  },

  runtime: {
    maxContainers: integer("Containers at once, over all sessions.", {
      default: 1_000,
      min: 1,
      max: 100_000,
    }),
    maxVolumes: integer("Named volumes of one session.", { default: 64, min: 1, max: 10_000 }),
    allowedPaths: text(
      "Host paths at or under which bind mounts may begin, with colons between them, whatever a session's policy allows; empty: none may.",
      { default: "/", check: pathListProblem },
    ),
    maxExecs: integer("Commands at once in containers, over all sessions.", {
      default: 256,
      min: 1,
      max: 10_000,
    }),
    statsIntervalMs: duration(
      "How often what containers use is measured without being asked; with very many of them less often.",
      { default: "10s", min: "1s", max: "1d", zero: "never" },
    ),
    maxStatsStreams: integer("Streams at once that measure containers.", {
      default: 256,
      min: 1,
      max: 10_000,
    }),
    thresholdPercents: text(
      "The shares of a container's memory and processes, in percent and ascending, at which RESOURCE_THRESHOLD tells of it; empty for none.",
      { default: "80,95", check: marksProblem },
    ),
    allowedImages: text(
      "Images that any container may use and anybody may pull, with commas between them and * for any text; empty for all. A session may allow fewer.",
      { default: "", check: blankProblem },
    ),
    maxCopies: integer("Archives at once that are copied into containers and out of them.", {
      default: 64,
      min: 1,
      max: 10_000,
    }),
    maxPulls: integer("Images that are fetched at once.", { default: 16, min: 1, max: 1_000 }),
    maxExecAttachments: integer("Streams that read one command at once.", {
      default: 16,
      min: 1,
      max: 1_000,
    }),
    execReadPatienceMs: duration(
      "How long a command that goes on without its caller waits for a stream that reads it and has stopped; then it goes on.",
      { default: "10s", min: "100ms", max: "10m" },
    ),
    execOutputBytes: size("The newest output of one command that is kept for those who attach to it.", {
      default: "1MiB",
      min: "4KiB",
      max: "64MiB",
    }),
    execOutputTotalBytes: size(
      "The same of all commands together. Those that have ended longest give theirs up first; then those that begin keep less.",
      { default: "64MiB", min: "1MiB", max: "64GiB" },
    ),
    maxEndedExecs: integer("Commands that have ended and are still listed; the newest.", {
      default: 1_000,
      min: 1,
      max: 100_000,
    }),
    keepEndedExecsMs: duration("How long a command that has ended is listed.", {
      default: "10m",
      min: "1s",
      max: "30d",
    }),
    defaultMemoryBytes: size("Memory of a container that asks for none.", {
      default: "512MiB",
      min: "6MiB",
      max: "64TiB",
    }),
    defaultCpus: number("Processors of a container that asks for none.", {
      default: 1,
      min: 0.01,
      max: 4_096,
    }),
    defaultPids: integer("Processes and threads of a container that asks for none.", {
      default: 256,
      min: 1,
      max: 4_194_304,
    }),
    maxLogBytes: size("Output of one container that the engine keeps; the oldest goes first.", {
      default: "64MiB",
      min: "64KiB",
      max: "64GiB",
    }),
    stopGraceMs: duration(
      "How long a container has between SIGTERM and SIGKILL if the caller does not say.",
      { default: "10s", max: "1h" },
    ),
    closeGraceMs: duration("The same for the containers of a session that closes.", {
      default: "2s",
      max: "1h",
    }),
    operationTimeoutMs: duration("How long the engine may take for one operation other than a pull.", {
      default: "60s",
      min: "1s",
      max: "1h",
    }),
    pullTimeoutMs: duration("How long the pull of an image may take.", {
      default: "10m",
      min: "1s",
      max: "24h",
    }),
  },

  warm: {
    starts: choice(
      "Whether commands and containers are started in containers that wait for them, where that can be done.",
      { default: "on", of: ["on", "off"], flag: "warm" },
    ),
    maxContainers: integer("Containers that wait prepared, of all shapes together; 0: none.", {
      default: 8,
      min: 0,
      max: 1_000,
    }),
    perShape: integer("Containers that wait prepared of one shape: of one image, with or without network.", {
      default: 4,
      min: 1,
      max: 1_000,
    }),
    idleMs: duration("How long after a shape was last asked for containers of it wait.", {
      default: "10m",
      min: "1s",
      max: "3650d",
    }),
    images: text(
      "Images of which containers wait whether or not anybody has asked for one, with commas between.",
      { default: "" },
    ),
  },

  agents: agentSettings,
  assistant: assistantSettings,

  worker: workerSettings,

  chat: chatSettings,

  tasks: taskSettings,

  client: {
    dialTimeoutMs: duration("How long the command line tries to connect.", {
      default: "30s",
      min: "1ms",
      max: "24h",
    }),
    callTimeoutMs: duration("How long one of its calls may take; streams have no such end.", {
      default: "10s",
      min: "1ms",
      max: "20d",
    }),
    reconnectIntervalMs: duration("How long it waits before it connects again.", {
      default: "5s",
      min: "1ms",
      max: "1h",
    }),
    reconnectAttempts: integer("How often it connects again before it gives up.", {
      default: 0,
      min: 1,
      max: 1_000_000,
      zero: "without end",
    }),
  },
};

/** What the table makes of itself: the same shape with a value in each place. */
type ConfigOf<Table> = {
  readonly [Key in keyof Table]: Table[Key] extends Setting<infer Value> ? Value : ConfigOf<Table[Key]>;
};

/** The server's configuration, complete and checked. Names end in their units: `…Ms`, `…Bytes`. */
export type Config = ConfigOf<typeof settings>;
