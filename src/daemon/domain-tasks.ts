import type { AgentId } from "../agents/agent.ts";
import { isTokenOf } from "../agents/agent-token.ts";
import type { Agents } from "../agents/agents.ts";
import type { Lines } from "../agents/lines.ts";
import type { SessionId } from "../sessions/session.ts";
import { AbsentAgents } from "../tasks/absent-agents.ts";
import { ClosedSessions } from "../tasks/closed-sessions.ts";
import { HandingOut } from "../tasks/handing-out.ts";
import { LiveTasks } from "../tasks/live-tasks.ts";
import { keepSessionsInUse } from "../tasks/sessions-in-use.ts";
import { Silences } from "../tasks/silences.ts";
import { takeUpTasks } from "../tasks/take-up.ts";
import { type TaskAgents, taskAgents } from "../tasks/task-agents.ts";
import { sessionIdOf, TaskChanges } from "../tasks/task-changes.ts";
import { TaskStreams } from "../tasks/task-streams.ts";
import { TaskTimes } from "../tasks/task-times.ts";
import { Tasks } from "../tasks/tasks.ts";
import type { DomainParts } from "./domain-parts.ts";

/** Tasks, and what brings them to agents. */
export interface TaskDomain {
  readonly tasks: Tasks;
  readonly taskStreams: TaskStreams;
  readonly taskAgents: TaskAgents;
  readonly closedSessions: ClosedSessions;
}

/** Takes up the tasks that are there, and begins to hand them out. */
export async function startTasks(
  parts: Pick<DomainParts, "store" | "clock" | "supervisor" | "config"> & {
    readonly agents: Agents;
    readonly lines: Lines;
    readonly touch: (id: SessionId) => Promise<void>;
  },
): Promise<TaskDomain> {
  const { store, clock, supervisor, config, agents, lines } = parts;
  const limits = config.tasks;
  const policy = limits;
  const monotonic = () => performance.now();
  const noticeMs = config.sessions.expiringNoticeMs;
  const times = new TaskTimes({ store, clock, random: Math.random, policy });
  const changes: TaskChanges = new TaskChanges({
    store,
    clock,
    noticeMs,
    onChanged: (change) => {
      live.changed(change.before, change.after);
      handing.changed(change);
      times.notice(change.after);
    },
    outputOf: (id) => live.get(id)?.output,
  });
  const live = new LiveTasks({
    store,
    maxOutputBytes: limits.maxOutputBytes,
    maxInputBytes: limits.maxInputBytes,
    readPatienceMs: limits.readPatienceMs,
    onCut: (task, offset) => times.noteCut(task, offset),
  });
  const absent = new AbsentAgents({
    background: supervisor,
    mayCome: (agentId) => agents.mayCome(agentId as AgentId), // what is none does not come
    onGone: (agentId) => handing.failWaitingFor(agentId),
  });
  const handing: HandingOut = new HandingOut({
    ...{ changes, clock, policy, background: supervisor, random: Math.random },
    ageingMs: limits.ageingMs,
    onAbsent: (agentId) => absent.note(agentId),
    takesTasks: (agentId) => agents.takesTasks(agentId as AgentId), // what is none is not live
    deliver: (agentId, message) => lines.deliver(agentId as AgentId, message), // what is none is NOT_FOUND
  });
  lines.onRoom((agentId) => handing.hasRoom(agentId));
  const silences = new Silences({
    ...{ changes, handing, monotonic, background: supervisor },
    reconnectMs: limits.reconnectGraceMs,
    restartMs: limits.restartGraceMs,
    agentMs: config.agents.graceMs,
    onDue: (inMs) => times.lookIn(inMs),
  });
  const tasks = new Tasks({
    ...{ store, clock, limits, policy, noticeMs, changes, live, handing },
    onDue: (task) => times.notice(task),
  });
  const ofAgents = taskAgents({ agents, handing, silences, changes, policy, background: supervisor });
  agents.showTasks(ofAgents.heldBy);
  const taskStreams = new TaskStreams({
    ...{ tasks, changes, handing, silences, policy, clock, live, random: Math.random },
    background: supervisor,
    maxResultBytes: limits.maxResultBytes,
    maxStreams: limits.maxStreams,
    isTokenOf: (token, agentId) => {
      const agent = handing.agent(agentId);
      return agent !== undefined && isTokenOf(token, agent);
    },
    pidOf: ofAgents.pidOf,
    saysItIsAt: ofAgents.saysItIsAt,
    saw: (agentId) => void agents.saw(agentId as AgentId), // what is none is not live
    streamOpened: (agentId) => agents.streamOpened(agentId as AgentId), // likewise
    touched: (task) => {
      const id = sessionIdOf(task);
      if (id !== undefined) supervisor.start("note the use of a session", () => parts.touch(id));
    },
  });
  const closedSessions = new ClosedSessions({ store, changes, background: supervisor, policy });
  await takeUpTasks({ store, handing, silences, closedSessions });
  supervisor.keepUp("keep the times of tasks", (signal) => times.run({ changes, silences, live, signal }));
  supervisor.keepUp(
    "keep sessions with tasks in use",
    (signal) => keepSessionsInUse({ handing, touch: (id) => parts.touch(id as SessionId) }, signal), // tasks were made with it
  );
  return { tasks, taskStreams, taskAgents: ofAgents, closedSessions };
}
