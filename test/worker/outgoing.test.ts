import { expect, test } from "bun:test";
import { Outgoing } from "../../src/worker/outgoing.ts";

test("Outgoing.connection() has the connection before it get no more, before it is read itself", async () => {
  const outgoing = new Outgoing<string>();
  const before = outgoing.connection();
  const waiting = before.next();
  const fresh = outgoing.connection();
  const taken = outgoing.send("what is new");
  expect(await waiting).toEqual({ done: true, value: undefined });
  expect(await fresh.next()).toEqual({ done: false, value: "what is new" });
  await taken;
});
