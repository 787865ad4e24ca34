import { systemCall } from "../call.ts";
import type { Chat } from "../chat/chat.ts";
import { type Conversation, conversationTable } from "../chat/turn.ts";
import { type Approvals, approvals } from "../containers/approvals.ts";
import { Containers } from "../containers/containers.ts";
import { Copies } from "../containers/copies.ts";
import { CopiesUnderWay } from "../containers/copies-under-way.ts";
import { Endings } from "../containers/endings.ts";
import { Execs } from "../containers/execs/execs.ts";
import { Images } from "../containers/images.ts";
import { OneAtATime } from "../containers/one-at-a-time.ts";
import type { ContainerParts } from "../containers/parts.ts";
import { type Pausing, pausing } from "../containers/pausing.ts";
import { plainSpec } from "../containers/policy/plain-spec.ts";
import { Readings } from "../containers/readings.ts";
import { Stats } from "../containers/stats.ts";
import { Pool } from "../containers/warm/pool.ts";
import { Bell } from "../events/bell.ts";
import { Messages } from "../messages/messages.ts";
import { Expiry } from "../sessions/expiry.ts";
import { Sessions, type SessionsOptions } from "../sessions/sessions.ts";
import type { TaskAgents } from "../tasks/task-agents.ts";
import type { TaskStreams } from "../tasks/task-streams.ts";
import type { Tasks } from "../tasks/tasks.ts";
import { type AgentDomain, startAgents } from "./domain-agents.ts";
import { type ChatDomain, startChat } from "./domain-chat.ts";
import type { DomainParts } from "./domain-parts.ts";
import { startTasks } from "./domain-tasks.ts";
import type { Log } from "./log.ts";

/** What the product does, put together. */
export interface Domain extends AgentDomain, ChatDomain {
  readonly sessions: Sessions;
  readonly messages: Messages;
  readonly containers: Containers;
  readonly execs: Execs;
  readonly pausing: Pausing;
  readonly approvals: Approvals;
  readonly stats: Stats;
  readonly readings: Readings;
  readonly images: Images;
  readonly pool: Pool;
  readonly copies: Copies;
  readonly tasks: Tasks;
  readonly taskStreams: TaskStreams;
  readonly taskAgents: TaskAgents;
}

/** How often closings that could not be finished are tried again, in milliseconds. */
const closingRetryMs = 5_000;
/** How many of them are tried at the same time. */
const closingsAtOnce = 64;

/** Puts the domain together and starts what it does by itself: expiry, the engine's watch, closings left over. */
export async function startDomain(parts: DomainParts): Promise<Domain> {
  const { store, config, clock, supervisor, words } = parts;
  const noticeMs = config.sessions.expiringNoticeMs;
  const expiry = new Expiry(clock);
  const sessions: Sessions = new Sessions({
    store,
    clock,
    background: supervisor,
    limits: config.sessions,
    noticeMs,
    empty: (id, call, how) => containers.empty(id, call, how),
    work: turnsOf(() => chatDomain.chat),
    onEnding: (session) => taskDomain.closedSessions.giveUp(session.id, session),
    onUnfinished: (id, error) => words.warn("a session can't be closed yet", { session: id, error }),
    onDue: expiry.notice,
  });
  const containerParts = containerPartsOf(parts, (id) => sessions.touch(id));
  const engineIsBack = new Bell();
  const pool = new Pool(
    {
      ...containerParts,
      operationMs: containerParts.times.operationMs,
      isUp: () => containers.link.state.kind === "up",
      onRefused: (image, why) => words.warn("a container can't be prepared", { image, reason: why.message }),
      configured: listOf(config.warm.images, ",").map((image) => plainSpec(image, containerParts.defaults)),
    },
    config.warm,
  );
  const containers: Containers = new Containers({ ...containerParts, pool }, (state) => {
    parts.onEngine(state);
    if (state.kind !== "up") return;
    engineIsBack.ring();
    pool.wake();
  });
  const stats = new Stats(containerParts, {
    everyMs: config.runtime.statsIntervalMs,
    maxStreams: config.runtime.maxStatsStreams,
    isUp: () => containers.link.state.kind === "up",
  });
  const execs = new Execs(containerParts, {
    maxExecs: config.runtime.maxExecs,
    maxAttachments: config.runtime.maxExecAttachments,
    readPatienceMs: config.runtime.execReadPatienceMs,
    outputBytes: config.runtime.execOutputBytes,
    outputTotalBytes: config.runtime.execOutputTotalBytes,
    maxEnded: config.runtime.maxEndedExecs,
    keepEndedMs: config.runtime.keepEndedExecsMs,
  });
  const messages = new Messages({ store, clock, limits: config.messages, noticeMs });
  supervisor.start(
    "settle commands left over",
    async (signal) => void (await execs.settleLeftovers(systemCall(signal))),
  );
  supervisor.keepUp("forget commands that have ended", (signal) => execs.forgetEnded(signal));
  supervisor.keepUp("follow the container engine", (signal) => containers.link.run(signal));
  supervisor.keepUp("prepare containers", (signal) => pool.run(signal));
  supervisor.keepUp("finish closing sessions", (signal) =>
    finishClosings(sessions, { signal, words, again: engineIsBack }),
  );
  if (config.runtime.statsIntervalMs > 0)
    supervisor.keepUp("measure containers", (signal) => stats.run(signal));
  const { agents, lines, passing } = await startAgents(parts);
  const taskDomain = await startTasks({ ...parts, agents, lines, touch: (id) => sessions.touch(id) });
  const chatDomain: ChatDomain = await startChat(parts, { sessions, messages, agents, lines });
  // What goes on in a session has to be there when it ends.
  supervisor.keepUp("end sessions in time", (signal) => expiry.run(sessions, signal));
  return {
    ...chatDomain,
    ...taskDomain,
    agents,
    lines,
    passing,
    sessions,
    messages,
    containers,
    execs,
    pausing: pausing(containerParts, containers.link),
    approvals: approvals(containerParts, containers.creation),
    stats,
    readings: containerParts.readings,
    images: containerParts.images,
    pool,
    copies: new Copies(containerParts, { stalledMs: config.grpc.stalledStreamTimeoutMs }),
  };
}

function containerPartsOf(parts: DomainParts, touch: ContainerParts["touch"]): ContainerParts {
  const { store, log, runtime, clock, supervisor, config } = parts;
  const { runtime: limits, sessions } = config;
  const times = {
    operationMs: limits.operationTimeoutMs,
    pullMs: limits.pullTimeoutMs,
    stopGraceMs: limits.stopGraceMs,
    closeGraceMs: limits.closeGraceMs,
  };
  return {
    store,
    log,
    runtime,
    clock,
    background: supervisor,
    locks: new OneAtATime(),
    endings: new Endings(),
    install: store.install,
    limits: {
      maxContainers: limits.maxContainers,
      maxVolumes: limits.maxVolumes,
      maxLabels: sessions.maxLabels,
      maxLabelKeyLength: sessions.maxLabelKeyLength,
      maxLabelValueLength: sessions.maxLabelValueLength,
    },
    defaults: {
      nanoCpu: BigInt(Math.round(limits.defaultCpus * 1e9)),
      memoryBytes: BigInt(limits.defaultMemoryBytes),
      pids: BigInt(limits.defaultPids),
      logBytes: limits.maxLogBytes,
      allowedPaths: listOf(limits.allowedPaths, ":"),
    },
    guarded: [
      { path: config.dataDir, what: "the server's data folder" },
      { path: config.grpc.socketPath, what: "the server's socket" },
    ],
    times,
    readings: new Readings(marksOf(config.runtime.thresholdPercents)),
    copying: new CopiesUnderWay(limits.maxCopies),
    images: new Images(
      { store, runtime, clock, background: supervisor, times, touch },
      { allowed: listOf(limits.allowedImages, ","), maxPulls: limits.maxPulls },
    ),
    touch,
    noticeMs: sessions.expiringNoticeMs,
  };
}

/** The setting's own check has seen that these are numbers. */
function marksOf(percents: string): readonly number[] {
  return listOf(percents, ",").map(Number);
}

/** A setting of several words with something between them. */
function listOf(text: string, between: string): readonly string[] {
  const parts = text.split(between).map((part) => part.trim());
  return parts.filter((part) => part !== "");
}

/** What conversations have going on in sessions. */
function turnsOf(chat: () => Chat): SessionsOptions["work"] {
  return {
    table: conversationTable,
    end: (row, session, at) => chat().endWithSession(row as Conversation | undefined, session, at), // of that table
  };
}

/** Closings that a crash or a lost engine has interrupted are gone on with, until each is done. */
async function finishClosings(
  sessions: Sessions,
  options: {
    readonly signal: AbortSignal;
    readonly words: Log;
    /** Rung when it is worth another try at once. */
    readonly again: Bell;
  },
): Promise<void> {
  const { signal, words, again } = options;
  signal.addEventListener("abort", again.ring, { once: true });
  while (!signal.aborted) {
    // All at once: one whose containers take their whole grace must not hold up the others.
    const closings = (await sessions.closing(closingsAtOnce)).map(async ({ id }) => {
      try {
        await sessions.finish(id, systemCall(signal));
        return "closed";
      } catch (error) {
        words.debug("a session can't be closed yet", { session: id, error });
        return "not yet";
      }
    });
    const outcomes = await Promise.all(closings);
    // A full round that got somewhere is followed by the next at once.
    if (outcomes.length < closingsAtOnce || !outcomes.includes("closed")) await again.wait(closingRetryMs);
  }
}
