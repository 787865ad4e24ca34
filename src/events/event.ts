/** Milliseconds since the Unix epoch, by the wall clock. */
export type Instant = number;

/** A position in the log: the sequence number of an event, from 1; 0 is the place before the first one. */
export type Position = number;

/** What happened, in the words of the log. The wire's numbers for them are in rpc/events.ts. */
export type EventType =
  | "container_created"
  | "container_started"
  | "container_stopped"
  | "container_removed"
  | "container_error"
  | "container_paused"
  | "container_resumed"
  | "container_restarting"
  | "session_created"
  | "session_updated"
  | "session_expiring"
  | "session_closed"
  | "message_created"
  | "task_created"
  | "task_updated"
  | "task_completed"
  | "task_failed"
  | "agent_registered"
  | "agent_lost"
  | "agent_unregistered"
  | "exec_started"
  | "exec_finished"
  | "image_pulled"
  | "ipc_message"
  | "policy_violation"
  | "resource_threshold"
  | "runtime_lost"
  | "runtime_recovered"
  | "approval_requested"
  | "approval_given"
  | "approval_refused"
  | "turn_queued"
  | "turn_started"
  | "turn_answered"
  | "turn_failed"
  | "turn_cancelled"
  | "system_startup"
  | "system_shutdown";

export type Priority = "low" | "normal" | "high" | "critical";

/** An event as a decision makes it; the store gives it its position, id and time when it commits. */
export interface NewEvent {
  readonly type: EventType;
  /** The part that speaks: `orchestrator.grpc`, `containers`, …; never an id. */
  readonly source: string;
  readonly at: Instant;
  /** What happened, in plain values. */
  readonly data?: Readonly<Record<string, string>>;
  readonly priority?: Priority;
  readonly labels?: Readonly<Record<string, string>>;
  readonly sessionId?: string | undefined;
  readonly containerId?: string | undefined;
  readonly taskId?: string | undefined;
  readonly agentId?: string | undefined;
  /** The owner of the session that it belongs to. */
  readonly userId?: string | undefined;
  readonly correlationId?: string | undefined;
  /** Who did it. */
  readonly actor?: string | undefined;
}

/** One entry of the log. Immutable: readers share it. */
export interface LogEvent extends NewEvent {
  /** Without holes, from 1. */
  readonly position: Position;
  /** UUIDv7. */
  readonly id: string;
}
