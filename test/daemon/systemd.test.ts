import { expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { libcPath, pathIn } from "../../src/daemon/libc-path.ts";
import { createLog } from "../../src/daemon/log.ts";
import { openServiceNotice, watchdogInterval } from "../../src/daemon/systemd.ts";
import { openManager } from "./service-manager.ts";

function quietLog() {
  const warnings: string[] = [];
  return {
    warnings,
    log: createLog({ level: "warn", format: "json", write: (line) => void warnings.push(line) }),
  };
}

function temporaryFolder() {
  const path = mkdtempSync(join(tmpdir(), "baaaht-notify-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

test.each(["a path", "an abstract name"])(
  "openServiceNotice() tells the manager at %s what happens",
  async (kind) => {
    using folder = temporaryFolder();
    const address = kind === "a path" ? join(folder.path, "notify") : `@${folder.path}`;
    await using manager = await openManager(address);
    const { log, warnings } = quietLog();
    using notice = openServiceNotice({ env: { NOTIFY_SOCKET: address }, log });

    notice.ready("Serving on\n/tmp/x.sock");
    expect((await manager.heard()).message).toBe("READY=1|STATUS=Serving on /tmp/x.sock");
    notice.status("é 3 sessions");
    expect((await manager.heard()).message).toBe("STATUS=é 3 sessions");
    notice.reloading();
    const { at, message } = await manager.heard();
    const [, told] = /^RELOADING=1\|MONOTONIC_USEC=(\d+)\|STATUS=Reloading$/.exec(message) ?? [];
    // systemd drops a READY that is not newer than this, on its own clock: not before the machine's start, not after now.
    expect(Number(told)).toBeLessThanOrEqual(at);
    expect(Number(told)).toBeGreaterThan(at - 60_000_000);
    notice.stopping("Ending 2 calls");
    expect((await manager.heard()).message).toBe("STOPPING=1|STATUS=Ending 2 calls");
    expect(warnings).toEqual([]);
  },
);

test("openServiceNotice() feeds the watchdog from ready on", async () => {
  using folder = temporaryFolder();
  const address = join(folder.path, "notify");
  await using manager = await openManager(address);
  const env = { NOTIFY_SOCKET: address, WATCHDOG_USEC: "20000", WATCHDOG_PID: String(process.pid) };
  const notice = openServiceNotice({ env, log: quietLog().log });
  notice.status("starting");
  notice.ready("Serving");
  expect((await manager.heard()).message).toBe("STATUS=starting");
  expect((await manager.heard()).message).toBe("READY=1|STATUS=Serving");
  expect((await manager.heard()).message).toBe("WATCHDOG=1");
  expect((await manager.heard()).message).toBe("WATCHDOG=1");
  notice[Symbol.dispose]();
});

test("openServiceNotice() closes its socket when it is disposed", () => {
  using folder = temporaryFolder();
  const env = { NOTIFY_SOCKET: join(folder.path, "notify") };
  const before = readdirSync("/proc/self/fd").length;
  for (let n = 0; n < 20; n++) openServiceNotice({ env, log: quietLog().log })[Symbol.dispose]();
  // What tests before this one have left may be closed meanwhile.
  expect(readdirSync("/proc/self/fd").length).toBeLessThanOrEqual(before);
});

test("openServiceNotice() says in the log when nobody listens, and goes on", () => {
  using folder = temporaryFolder();
  for (const address of [join(folder.path, "gone"), `@${folder.path}`, "relative", `/${"x".repeat(200)}`]) {
    const { log, warnings } = quietLog();
    using notice = openServiceNotice({ env: { NOTIFY_SOCKET: address }, log });
    notice.ready("Serving");
    expect(warnings).toHaveLength(1);
    expect(JSON.parse(warnings[0] ?? "").notify_socket).toBe(address);
  }
});

test("openServiceNotice() does nothing where there is no manager", () => {
  const { log, warnings } = quietLog();
  for (const env of [{}, { NOTIFY_SOCKET: "", WATCHDOG_USEC: "1" }]) {
    using notice = openServiceNotice({ env, log });
    notice.ready("Serving");
    notice.reloading();
    notice.stopping("");
  }
  expect(warnings).toEqual([]);
});

test("watchdogInterval() is half of what the manager waits, for the process that it means", () => {
  expect(watchdogInterval({ WATCHDOG_USEC: "30000000" }, 5)).toBe(15_000);
  expect(watchdogInterval({ WATCHDOG_USEC: "30000000", WATCHDOG_PID: "5" }, 5)).toBe(15_000);
  expect(watchdogInterval({ WATCHDOG_USEC: "30000000", WATCHDOG_PID: "6" }, 5)).toBeUndefined();
  expect(watchdogInterval({ WATCHDOG_USEC: "1" }, 5)).toBe(1);
  expect(watchdogInterval({ WATCHDOG_USEC: "9999999999999999" }, 5)).toBe(3_600_000);
  for (const WATCHDOG_USEC of [undefined, "", "0", "-1", "1s", "18446744073709551615"]) {
    expect(watchdogInterval({ WATCHDOG_USEC }, 5)).toBeUndefined();
  }
});

test("libcPath() is the library that is loaded, and never a bare name", () => {
  expect(libcPath()).toStartWith("/");
  expect(pathIn("7f-80 r-xp 0 fe:00 1                     /usr/lib/x86_64-linux-gnu/libc.so.6\n")).toBe(
    "/usr/lib/x86_64-linux-gnu/libc.so.6",
  );
  expect(pathIn("7f-80 r-xp 0 fe:00 1      /lib/ld-musl-aarch64.so.1\n")).toBe("/lib/ld-musl-aarch64.so.1");
  expect(pathIn("7f-80 r-xp 0 fe:00 1      /tmp/libc.so.6.txt\n")).toBeUndefined();
  expect(() => libcPath("win32")).toThrow("Cannot find the C library on win32");
});
