import { expect, test } from "bun:test";
import { Drawing } from "../../src/cli/drawing.ts";
import { recorded } from "./command-line.ts";

test("Drawing draws over what it has drawn, together what changes together, and a last time at its end", async () => {
  const { output, text } = recorded(20);
  let lines = ["one"];
  const written = Promise.withResolvers<void>();
  const telling = {
    ...output,
    write: async (data: string | Uint8Array) => {
      await output.write(data);
      written.resolve();
    },
  };
  {
    await using drawing = new Drawing(telling, () => lines.map((line) => `${line}\n`).join(""));
    drawing.changed();
    lines = ["one", "two"];
    drawing.changed();
    await written.promise;
    expect(text()).toBe("\r\u001b[Jone\ntwo\n");
    lines = ["three"];
    drawing.changed();
  }
  expect(text()).toBe("\r\u001b[Jone\ntwo\n\r\u001b[2A\u001b[Jthree\n");
});

test("Drawing draws no line that would be wrapped, and none above the terminal's first", async () => {
  const { output, text } = recorded(10);
  const long = `\u001b[1m${"x".repeat(30)}\u001b[0m`;
  {
    await using drawing = new Drawing(output, () => `${long}\n${"y\n".repeat(40)}`);
    drawing.changed();
  }
  const lines = text().replace("\r\u001b[J", "").split("\n").slice(0, -1);
  expect(lines).toHaveLength(23);
  expect(lines[0]).toMatch(/^.{1,2}\[1mx+….\[0m$/);
  expect(Bun.stringWidth(lines[0] ?? "")).toBeLessThanOrEqual(10);
});

test("Drawing draws nothing that has not changed", async () => {
  const { output, text } = recorded(10);
  await new Drawing(output, () => "never\n")[Symbol.asyncDispose]();
  expect(text()).toBe("");
});
