import { expect, test } from "bun:test";
import { Departures } from "../../src/rpc/departures.ts";

/** A call that tells `sent` when its answer goes out. */
function callNamed(name: string, sent: string[]) {
  return {
    ended: false,
    send: () => {
      sent.push(name);
    },
    succeed() {},
    fail(error: unknown) {
      throw error;
    },
  };
}

const answer = Buffer.from("an answer");

function endOfTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

test("Departures.send() sends an answer that is alone at once, every time", async () => {
  const departures = new Departures();
  const sent: string[] = [];
  for (let count = 1; count <= 100; count += 1) {
    departures.send(callNamed("one", sent), answer);
    expect(sent).toHaveLength(count);
    await endOfTurn();
  }
});

test("Departures.send() comes to send what follows in the same turn at its end", async () => {
  const departures = new Departures();
  for (let turn = 0; turn < 32; turn += 1) {
    departures.send(callNamed("first", []), answer);
    departures.send(callNamed("second", []), answer);
    await endOfTurn();
  }
  const sent: string[] = [];
  for (const name of ["first", "second", "third"]) departures.send(callNamed(name, sent), answer);
  expect(sent).toEqual(["first"]);
  await endOfTurn();
  expect(sent).toEqual(["first", "second", "third"]);
});

test("Departures.send() leaves out a call that has ended while its answer waited", async () => {
  const departures = new Departures();
  for (let turn = 0; turn < 32; turn += 1) {
    departures.send(callNamed("first", []), answer);
    departures.send(callNamed("second", []), answer);
    await endOfTurn();
  }
  const sent: string[] = [];
  const ending = callNamed("ending", sent);
  departures.send(callNamed("first", sent), answer);
  departures.send(ending, answer);
  departures.send(callNamed("last", sent), answer);
  ending.ended = true;
  await endOfTurn();
  expect(sent).toEqual(["first", "last"]);
});
