import { afterAll, beforeAll, expect, test } from "bun:test";
import { findSessionId } from "../../src/cli/find-id.ts";
import { startServer, type TestServer } from "../server.ts";

/** One more than five pages. */
const COUNT = 5001;

let server: TestServer;
/** Oldest first. */
let ids: readonly string[];

beforeAll(async () => {
  server = await startServer();
  const made: string[] = [];
  while (made.length < COUNT) {
    const batch = Array.from({ length: Math.min(100, COUNT - made.length) }, (_, index) =>
      server.client.orchestrator.createSession({ metadata: { name: `n${made.length + index}` } }),
    );
    made.push(...(await Promise.all(batch)).map(({ sessionId }) => sessionId));
  }
  ids = made.toSorted();
}, 60_000);

afterAll(async () => await server[Symbol.asyncDispose]());

test("findSessionId() gives up a name behind the newest 5000, and says what to do", async () => {
  const failure = await findSessionId(server.client, "nobody").catch((error: unknown) => error);
  expect(failure).toMatchObject({
    kind: "not_found",
    message: `Cannot find session "nobody": the newest 5000 of ${COUNT} were looked at; give its whole id`,
  });
});

test("findSessionId() does not take a name for the only one that others not seen may have too", async () => {
  const newest = (await server.client.orchestrator.listSessions({ pageSize: 1 })).sessions[0];
  const name = newest?.metadata?.name ?? "";
  const failure = await findSessionId(server.client, name).catch((error: unknown) => error);
  expect(failure).toMatchObject({
    kind: "invalid_argument",
    message: expect.stringContaining(
      `it may be ${newest?.id} (${name}), or one not seen: the newest 5000 of`,
    ),
  });
});

test("findSessionId() knows that the beginning of an id is the only one when it has passed it", async () => {
  // Ids begin with their time: one that was made apart from the others has a beginning of its own.
  const id = ids.at(-1) ?? "";
  expect(await findSessionId(server.client, id.slice(0, 35))).toBe(id);
});

test("findSessionId() finds the open one of a name without the closed ones", async () => {
  await using small = await startServer();
  const { orchestrator } = small.client;
  const metadata = { name: "build" };
  const closed = await orchestrator.createSession({ metadata });
  await orchestrator.closeSession({ sessionId: closed.sessionId });
  expect(await findSessionId(small.client, "build")).toBe(closed.sessionId);
  const { sessionId } = await orchestrator.createSession({ metadata });
  expect(await findSessionId(small.client, "build")).toBe(sessionId);
});
