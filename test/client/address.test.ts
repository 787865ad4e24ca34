import { expect, test } from "bun:test";
import { parseAddress } from "../../src/client/address.ts";
import { thrown } from "./thrown.ts";

test("parseAddress() takes a socket as a URL, as a path and relative to the current folder", () => {
  expect(parseAddress("unix:///tmp/b.sock")).toEqual({
    kind: "unix",
    path: "/tmp/b.sock",
    text: "unix:///tmp/b.sock",
  });
  expect(parseAddress("/tmp/b.sock").text).toBe("unix:///tmp/b.sock");
  expect(parseAddress("unix:/tmp/b.sock").text).toBe("unix:///tmp/b.sock");
  expect(parseAddress("unix:b.sock").text).toBe(`unix://${process.cwd()}/b.sock`);
  expect(parseAddress("./b.sock").text).toBe(`unix://${process.cwd()}/b.sock`);
});

test("parseAddress() takes a host and a port", () => {
  expect(parseAddress("localhost:9000")).toMatchObject({ kind: "tcp", host: "localhost", port: 9000 });
  expect(parseAddress("[::1]:9000")).toMatchObject({ kind: "tcp", host: "::1", port: 9000 });
});

test.each([
  "",
  "unix:",
  "localhost",
  "localhost:0",
  "localhost:65536",
  ":9000",
  "a b:1",
  `/${"x".repeat(107)}`,
])("parseAddress() refuses %p, naming it", async (text) => {
  const failure = await thrown(() => parseAddress(text));
  expect(failure.kind).toBe("invalid_argument");
  expect(failure.message).toContain(text);
});
