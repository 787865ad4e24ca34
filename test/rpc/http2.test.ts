import { expect, test } from "bun:test";
import type { Http2Server, Http2Session } from "node:http2";
import { callUnary, SERVICE, type TestServer, testServer } from "./test-server.ts";

const callCount = 8;

test("joinWrites() lets answers that end together leave in fewer writes than there are of them", async () => {
  const allHere = Promise.withResolvers<void>();
  let here = 0;
  await using server = await testServer({
    handlers: {
      getSession: async () => {
        here += 1;
        if (here === callCount) allHere.resolve();
        await allHere.promise;
        return {};
      },
    },
  });
  const written = countWrites(server);
  const client = server.connect();
  await Promise.all(
    Array.from({ length: callCount }, () => callUnary(client, SERVICE.method.getSession, {})),
  );
  expect(written()).toBeGreaterThan(0);
  expect(written()).toBeLessThan(callCount / 2);
});

/** Counts how often the streams of the connections to come make Bun write what it has gathered. */
function countWrites(server: TestServer): () => number {
  let writes = 0;
  const servers: Map<Http2Server, unknown> = Reflect.get(server.server.grpc, "http2Servers");
  for (const bound of servers.keys()) {
    bound.prependListener("session", (session: Http2Session) => {
      const kind: object = Object.getPrototypeOf(session);
      const name = Object.getOwnPropertySymbols(kind).find(
        (each) => each.description === "::bunhttp2native::",
      );
      const frames: { flush(): void } = Reflect.get(session, name ?? "");
      const flush = frames.flush.bind(frames);
      frames.flush = () => {
        writes += 1;
        flush();
      };
    });
  }
  return () => writes;
}
