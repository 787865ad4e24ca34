import { expect, test } from "bun:test";
import { runFaults } from "./fault-run.ts";
import { faultTable } from "./fault-table.ts";

test("what is shown and told stays true through faults of the engine, of the way to it, and of the server", async () => {
  const seed = Math.floor(Math.random() * 2 ** 32);
  const reports = await runFaults({ rounds: 1, patience: "short", only: "", seed });
  const violations = reports.flatMap((report) => report.violations);
  expect(violations, faultTable(reports, `bun run faults --seed ${seed}`)).toEqual([]);
}, 1_200_000); // a minute of a processor, which may be shared with many
