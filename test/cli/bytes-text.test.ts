import { expect, test } from "bun:test";
import { bytesText } from "../../src/cli/bytes-text.ts";

test.each([
  [0, "0B"],
  [1_023, "1023B"],
  [1_024, "1.0KiB"],
  [1_536, "1.5KiB"],
  [102_300, "99.9KiB"],
  [102_400, "100KiB"],
  [1_048_575, "1.0MiB"],
  [25_000_000, "23.8MiB"],
  [2 ** 50 * 5_000, "5000PiB"],
])("bytesText() of %p is %p", (bytes, text) => {
  expect(bytesText(bytes)).toBe(text);
});
