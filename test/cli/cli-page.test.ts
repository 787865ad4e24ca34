import { expect, test } from "bun:test";
import { join } from "node:path";
import { withReference } from "../../scripts/cli-reference.ts";

test("docs/cli.md says of every command what its declaration says", async () => {
  const page = await Bun.file(join(import.meta.dir, "../../docs/cli.md")).text();
  // To write it again: bun scripts/cli-reference.ts
  expect(await withReference(page)).toBe(page);
});
