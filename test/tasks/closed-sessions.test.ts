import { expect, test } from "bun:test";
import { ClosedSessions } from "../../src/tasks/closed-sessions.ts";
import { startHandingOut, taskPolicy } from "./handed-out.ts";

test("ClosedSessions.giveUp() gives up all tasks of a session, when the disk that was full has room again", async () => {
  const { store, changes, background, make, countOf, idle } = startHandingOut({ mostWaiting: 1_000 });
  const closed = new ClosedSessions({ store, changes, background, policy: taskPolicy });
  await make(700, { sessionId: "s" });
  await make(3, { sessionId: "another" });
  store.isFull = true;
  closed.giveUp("s", undefined);
  await store.refusal;
  store.isFull = false;
  await idle();
  expect(countOf("cancelled")).toBe(700);
  expect(countOf("queued")).toBe(3);
});
