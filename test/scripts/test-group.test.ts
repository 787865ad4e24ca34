import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CheckOutcome } from "../../scripts/check-step.ts";
import { testStep } from "../../scripts/test-group.ts";

/** Runs test files of the given texts through a real `bun test`. */
async function outcomeOf(processes: number, ...texts: readonly string[]): Promise<CheckOutcome> {
  const folder = mkdtempSync(join(tmpdir(), "baaaht-group-"));
  try {
    const files = texts.map((_, index) => join(folder, `${index}.test.ts`));
    for (const [index, text] of texts.entries()) {
      await Bun.write(join(folder, `${index}.test.ts`), `import { expect, test } from "bun:test";\n${text}`);
    }
    const step = testStep({ name: `group ${folder.slice(-6)}`, processes, folder, files: () => files });
    return await step.run({ progress: () => {}, env: {}, signal: new AbortController().signal });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("testStep() counts each test that passed", async () => {
  const outcome = await outcomeOf(1, 'test("a", () => {}); test("b", () => {});', 'test("c", () => {});');
  expect(outcome).toEqual({ passed: 3, failures: [] });
});

test("testStep() names each test that failed, with its words", async () => {
  const { passed, failures } = await outcomeOf(1, 'test("a", () => {}); test("b", () => expect(1).toBe(2));');
  expect(passed).toBe(1);
  expect(failures).toHaveLength(1);
  expect(failures[0]?.name).toEndWith("0.test.ts: b");
  expect(failures[0]?.detail).toContain("Expected: 2");
});

test("testStep() counts a skipped test as failed", async () => {
  const { failures } = await outcomeOf(1, 'test("a", () => {}); test.skip("b", () => {});');
  expect(failures.map(({ detail }) => detail)).toEqual(["skipped; every test has to run"]);
});

test("testStep() counts a file that could not be loaded as failed", async () => {
  const { passed, failures } = await outcomeOf(1, 'test("a", () => {});', 'throw new Error("at load");');
  expect(passed).toBe(1);
  expect(failures).toHaveLength(1);
  expect(failures[0]?.detail).toContain("at load");
});

for (const processes of [1, 2]) {
  test(`testStep() is not fooled by a test that ends the process with 0, in ${processes} process(es)`, async () => {
    const { failures } = await outcomeOf(
      processes,
      'test("a", () => {});',
      'test("b", () => process.exit(0));',
    );
    expect(failures.length).toBeGreaterThan(0);
    expect(failures.some(({ name }) => name.includes("1.test.ts"))).toBe(true);
  });
}

test("testStep() counts an error after the last test as failed", async () => {
  const text =
    'import { afterAll } from "bun:test"; test("a", () => {}); afterAll(() => { throw new Error("late"); });';
  const { failures } = await outcomeOf(1, text);
  expect(failures).toHaveLength(1);
  expect(failures[0]?.detail).toContain("late");
});

test("testStep() fails where there are no files", async () => {
  expect((await outcomeOf(1)).failures.map(({ detail }) => detail)).toEqual(["there are no test files"]);
});
