import type { Session, SessionId } from "../../src/sessions/session.ts";
import { config, metadata } from "../sessions/session-parts.ts";

/** A session as it is when it was just opened. */
export function plainSession(id: SessionId): Session {
  return {
    id,
    metadata: metadata({ labels: { team: "red" } }),
    config: config(),
    preferences: { timezone: "", language: "", theme: "", notifications: false },
    currentTaskId: "",
    taskHistory: [],
    life: { state: "active" },
    createdAt: 0,
    updatedAt: 0,
    containerIds: [],
  };
}
