import { expect, test } from "bun:test";
import { join } from "node:path";
import { parse } from "smol-toml";
import { withSettings } from "../../scripts/configuration-table.ts";
import { loadConfig } from "../../src/daemon/config.ts";

const page = await Bun.file(join(import.meta.dir, "../../docs/configuration.md")).text();

test("docs/configuration.md lists every setting as it is", () => {
  // To write it again: bun scripts/configuration-table.ts
  expect(page).toBe(withSettings(page));
});

test("docs/configuration.md shows a file that is accepted", () => {
  const example = /```toml\n([\s\S]*?)```/.exec(page)?.[1] ?? "";
  expect(Object.keys(parse(example)).length).toBeGreaterThan(0);
  const { config } = loadConfig({ flags: {}, env: {}, uid: 0, readFile: () => example });
  expect(config.dataDir).toBe("/srv/baaaht");
});
