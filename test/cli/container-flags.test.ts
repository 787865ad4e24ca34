import { describe, expect, test } from "bun:test";
import { lastingFlags } from "../../src/cli/container-flags.ts";
import { mountFlags } from "../../src/cli/mount-flags.ts";
import { publishFlag } from "../../src/cli/network-flags.ts";
import { MountType } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { typed } from "./command-line.ts";

const { BIND, VOLUME, TMPFS } = MountType;
const here = process.cwd();

describe("--volume", () => {
  test.each([
    ["/data:/in", { type: BIND, source: "/data", target: "/in", readOnly: false }],
    ["/data/:/in:ro", { type: BIND, source: "/data", target: "/in", readOnly: true }],
    ["./src:/src:rw", { type: BIND, source: `${here}/src`, target: "/src", readOnly: false }],
    ["cache:/cache", { type: VOLUME, source: "cache", target: "/cache", readOnly: false }],
    ["cache:/cache:ro", { type: VOLUME, source: "cache", target: "/cache", readOnly: true }],
    ["/own", { type: VOLUME, source: "", target: "/own", readOnly: false }],
  ])("%s", (word, expected) => {
    expect(mountFlags.volume.read([word])).toMatchObject([expected]);
  });

  test.each(["", ":/a", "a:", "a:/b:/c", "a:/b:zz", "~/x:/x"])("refuses %p", (word) => {
    expect(() => mountFlags.volume.read([word])).toThrow();
  });
});

describe("--mount", () => {
  test.each([
    ["type=bind,source=/a,target=/b", { type: BIND, source: "/a", target: "/b", readOnly: false }],
    ["type=bind,src=.,dst=/b,readonly", { type: BIND, source: here, target: "/b", readOnly: true }],
    ["type=volume,destination=/b,ro=true", { type: VOLUME, source: "", target: "/b", readOnly: true }],
    ["target=/b,source=a=b", { type: VOLUME, source: "a=b", target: "/b", readOnly: false }],
    ["type=tmpfs,target=/b,readonly=false", { type: TMPFS, source: "", target: "/b", readOnly: false }],
  ])("%s", (word, expected) => {
    expect(mountFlags.mount.read([word])).toMatchObject([expected]);
  });

  test.each([
    ["type=bind,target=/b", "has no source"],
    ["type=bind,source=/a", "has no target"],
    ["type=npipe,target=/b", 'has the type "npipe"'],
    ["type=tmpfs,target=/b,size=1m", 'has "size"'],
    ["type=tmpfs,target=/b,dst=/c", "has target twice"],
    ["type=tmpfs,target=/b,readonly=yes", "has readonly=yes"],
  ])("refuses %s", (word, words) => {
    expect(() => mountFlags.mount.read([word])).toThrow(words);
  });
});

describe("--publish", () => {
  test.each([
    ["80", { containerPort: 80, hostPort: 0, protocol: "", hostIp: "" }],
    ["8080:80", { containerPort: 80, hostPort: 8080, protocol: "", hostIp: "" }],
    [":80", { containerPort: 80, hostPort: 0, protocol: "", hostIp: "" }],
    ["53:53/udp", { containerPort: 53, hostPort: 53, protocol: "udp", hostIp: "" }],
    ["0.0.0.0:8080:80/tcp", { containerPort: 80, hostPort: 8080, protocol: "tcp", hostIp: "0.0.0.0" }],
    ["127.0.0.1::80", { containerPort: 80, hostPort: 0, protocol: "", hostIp: "127.0.0.1" }],
    ["[::1]:8080:80", { containerPort: 80, hostPort: 8080, protocol: "", hostIp: "::1" }],
  ])("%s", (word, expected) => {
    expect(publishFlag.read([word])).toMatchObject([expected]);
  });

  test.each(["", "http", "a:80", "80-90:80", "1:2:3:4", "70000:80", "::1:80:80"])("refuses %p", (word) => {
    expect(() => publishFlag.read([word])).toThrow();
  });
});

test("--restart takes a number behind on-failure, and nowhere else", () => {
  expect(lastingFlags.restart.read(["on-failure:3"])).toMatchObject({
    name: "on-failure",
    maximumRetryCount: 3,
  });
  expect(lastingFlags.restart.read(["always"])).toMatchObject({ name: "always", maximumRetryCount: 0 });
  expect(lastingFlags.restart.read([])).toBeUndefined();
  for (const word of ["always:3", "on-failure:", "sometimes"]) {
    expect(() => lastingFlags.restart.read([word])).toThrow("on-failure:N");
  }
});

test("-v is --verbose where nothing is mounted, and --volume where something is", async () => {
  const lines = async (...args: readonly string[]) => (await typed(args)).stderr.split("\n").length;
  const create = ["container", "create", "-s", "s"];
  expect(await lines(...create, "-v", "./a:/b", "image")).toBeLessThan(
    await lines(...create, "--verbose", "image"),
  );
  expect(await lines("container", "get", "-v", "x")).toBe(await lines("container", "get", "--verbose", "x"));
});
