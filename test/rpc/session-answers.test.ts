import { describe, expect, test } from "bun:test";
import { Encoded } from "../../src/rpc/encoded.ts";
import { SessionAnswers } from "../../src/rpc/session-answers.ts";
import type { Activity, Session, SessionId } from "../../src/sessions/session.ts";

describe("SessionAnswers", () => {
  test("get() gives what was kept while both rows are the same objects", () => {
    const answers = new SessionAnswers();
    const parts = { session: sessionOf("a"), activity: activityOf("a"), messageLimit: 100, usages: [] };
    const answer = answerOf(93);
    answers.keep(parts, answer);
    expect(answers.get({ ...parts })).toBe(answer);
    expect(answers.get({ ...parts, session: { ...parts.session } })).toBeUndefined();
    expect(answers.get({ ...parts, activity: { ...parts.activity } })).toBeUndefined();
    expect(answers.get({ ...parts, messageLimit: 99 })).toBeUndefined();
  });

  test("keep() keeps no large answer, and forgets the one before it", () => {
    const answers = new SessionAnswers();
    const parts = { session: sessionOf("a"), activity: activityOf("a"), messageLimit: 100, usages: [] };
    answers.keep(parts, answerOf(16_384));
    expect(answers.get(parts)).toBeDefined();
    answers.keep(parts, answerOf(16_385));
    expect(answers.get(parts)).toBeUndefined();
  });

  test("keep() forgets the session that was kept first when there are too many", () => {
    const answers = new SessionAnswers();
    const kept = Array.from({ length: 1_025 }, (_, index) => ({
      session: sessionOf(`${index}`),
      activity: activityOf(`${index}`),
      messageLimit: 100,
      usages: [],
    }));
    for (const parts of kept) answers.keep(parts, answerOf(93));
    expect(kept.map((parts) => answers.get(parts) !== undefined)).toEqual([
      false,
      ...Array.from({ length: 1_024 }, () => true),
    ]);
  });
});

function answerOf(bytes: number): Encoded {
  return new Encoded(new Uint8Array(bytes));
}

function activityOf(id: string): Activity {
  const sessionId = id as SessionId; // any text may be one in a test
  return { sessionId, lastAt: 0, messageCount: 0, expiresAt: null, dueAt: null };
}

function sessionOf(id: string): Session {
  return {
    id: id as SessionId, // as above
    metadata: { name: "", description: "", labels: {}, ownerId: "", tags: [] },
    config: {
      maxContainers: 1,
      maxDurationNs: 0n,
      idleTimeoutNs: 0n,
      limits: { nanoCpu: 0n, memoryBytes: 0n, memorySwap: 0n, pidsLimit: 0n },
      allowedImages: [],
      policy: {
        allowNetwork: false,
        allowedNetworks: [],
        allowVolumeMount: false,
        allowedPaths: [],
        requireApproval: false,
      },
    },
    preferences: { timezone: "", language: "", theme: "", notifications: false },
    currentTaskId: "",
    taskHistory: [],
    life: { state: "active" },
    createdAt: 0,
    updatedAt: 0,
    containerIds: [],
  };
}
