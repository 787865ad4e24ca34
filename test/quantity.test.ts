import { expect, test } from "bun:test";
import { constantFrom, assert as hold, integer, property } from "fast-check";
import { readDuration, readSize, writeDuration, writeSize } from "../src/quantity.ts";

test("readDuration() reads units, and several of them", () => {
  const read: Record<string, number> = {
    "0": 0,
    "250ms": 250,
    "30s": 30_000,
    "10m": 600_000,
    "1h30m": 5_400_000,
    "1.5h": 5_400_000,
    "7d": 604_800_000,
    "1d2h3m4s5ms": 93_784_005,
  };
  for (const [text, ms] of Object.entries(read)) expect(readDuration(text)).toBe(ms);
});

test("readDuration() refuses what could be read in two ways", () => {
  for (const text of [
    "",
    "30",
    "1",
    "-1s",
    "+1s",
    "1s ",
    " 1s",
    "1 s",
    "1S",
    "1M",
    "1m1h",
    "5s5s",
    "s",
    "1.s",
    ".5s",
    "1e3s",
    "0.0001ms",
    "999999999999d",
    "∞",
    "1us",
  ]) {
    expect({ text, ms: readDuration(text) }).toEqual({ text, ms: undefined });
  }
});

test("writeDuration() writes what readDuration() reads again", () => {
  hold(
    property(
      integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
      (ms) => readDuration(writeDuration(ms)) === ms,
    ),
  );
  expect(writeDuration(5_400_000)).toBe("1h30m");
});

test("readSize() reads powers of 1024 and of 1000 as they are written", () => {
  const read: Record<string, number> = {
    "0": 0,
    "65536": 65_536,
    "1_000": 1_000,
    "100MiB": 104_857_600,
    "1GB": 1_000_000_000,
    "1.5 GiB": 1_610_612_736,
    "64k": 65_536,
    "2T": 2_199_023_255_552,
    "1kb": 1_000,
    "7B": 7,
  };
  for (const [text, bytes] of Object.entries(read)) expect(readSize(text)).toBe(bytes);
});

test("readSize() refuses what is no size", () => {
  for (const text of ["", "-1", "1.5", "MiB", "1 apple", "1e3", "0x10", "1MiBB", "99999999TiB", "NaN"]) {
    expect({ text, bytes: readSize(text) }).toEqual({ text, bytes: undefined });
  }
});

test("writeSize() writes what readSize() reads again", () => {
  const unit = constantFrom(1, 1_000, 1_024, 1_000_000, 1_048_576, 1_073_741_824);
  hold(
    property(
      integer({ min: 0, max: 4_000_000 }),
      unit,
      (count, bytes) => readSize(writeSize(count * bytes)) === count * bytes,
    ),
  );
  expect(writeSize(104_857_600)).toBe("100MiB");
});
