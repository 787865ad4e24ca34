import { expect, test } from "bun:test";
import { engine } from "../engine.ts";
import { runCrash } from "./crash-run.ts";
import { tableOf } from "./figures.ts";

test("a server that is killed 25 times under load loses nothing that it acknowledged", async () => {
  const { dockerHost, image } = await engine();
  const seed = Math.floor(Math.random() * 2 ** 32);
  const figures = await runCrash({ rounds: 25, seed, dockerHost, image });
  const table = tableOf(figures);
  expect(figures.violations, table).toEqual([]);
  expect(figures.acknowledged.messages).toBeGreaterThan(0);
  expect(figures.acknowledged.containerCalls).toBeGreaterThan(0);
}, 1_200_000); // a minute of a processor, which may be shared with many
