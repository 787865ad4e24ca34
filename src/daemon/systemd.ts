import { dlopen, ptr } from "bun:ffi";
import { libcPath } from "./libc-path.ts";
import type { Log } from "./log.ts";

/** What the service manager is told. Without one (no NOTIFY_SOCKET) all of it does nothing. */
export interface ServiceNotice extends Disposable {
  /** The server answers calls. Begins to feed the watchdog, if there is one. */
  ready(status: string): void;
  /** The configuration is being read again; `ready` ends that. */
  reloading(): void;
  /** The server ends, on purpose. */
  stopping(status: string): void;
  /** One line for `systemctl status`. */
  status(text: string): void;
}

export interface ServiceNoticeOptions {
  /** NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID are read from it. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly log: Log;
  /** This process's own when absent. */
  readonly pid?: number;
}

/**
 * Speaks sd_notify(3) to the service manager that started this process. The C library is opened only where there is
 * one, because neither Node nor Bun knows datagrams on Unix sockets. What goes wrong is logged: a server that can't tell
 * systemd of itself still serves.
 */
export function openServiceNotice({ env, log, pid = process.pid }: ServiceNoticeOptions): ServiceNotice {
  const address = env.NOTIFY_SOCKET;
  if (!address) return silent;
  let channel: Channel;
  try {
    channel = openChannel(address);
  } catch (error) {
    log.warn("cannot reach the service manager", { notify_socket: address, error });
    return silent;
  }
  const send = (...lines: readonly string[]): void => {
    if (!channel.send(lines.join("\n")))
      log.warn("the service manager does not listen", { notify_socket: address, lines });
  };
  const watchdogMs = watchdogInterval(env, pid);
  let watchdog: ReturnType<typeof setInterval> | undefined;
  return {
    ready: (status) => {
      send("READY=1", statusLine(status));
      // A loop that no longer turns does not feed it, and that is what it is for.
      if (watchdogMs !== undefined) watchdog ??= setInterval(() => send("WATCHDOG=1"), watchdogMs);
      watchdog?.unref();
    },
    reloading: () =>
      send("RELOADING=1", `MONOTONIC_USEC=${channel.monotonicMicroseconds()}`, "STATUS=Reloading"),
    stopping: (status) => send("STOPPING=1", statusLine(status)),
    status: (text) => send(statusLine(text)),
    [Symbol.dispose]: () => {
      clearInterval(watchdog);
      channel[Symbol.dispose]();
    },
  };
}

const silent: ServiceNotice = {
  ready: () => {},
  reloading: () => {},
  stopping: () => {},
  status: () => {},
  [Symbol.dispose]: () => {},
};

/** Half of what the manager waits for, as sd_watchdog_enabled(3) advises; undefined when it does not wait for us. */
export function watchdogInterval(
  env: Readonly<Record<string, string | undefined>>,
  pid: number,
): number | undefined {
  const { WATCHDOG_USEC: microseconds, WATCHDOG_PID: watched } = env;
  if (microseconds === undefined || !/^[1-9]\d{0,15}$/.test(microseconds)) return undefined;
  if (watched && watched !== String(pid)) return undefined;
  // setInterval takes no more than 31 bits; often enough is never wrong.
  return Math.min(Math.max(Math.floor(Number(microseconds) / 2_000), 1), 3_600_000);
}

/** A status is one line: more would be further assignments. */
function statusLine(text: string): string {
  return `STATUS=${text.toWellFormed().replace(/\s+/g, " ").slice(0, 1_024)}`;
}

interface Channel extends Disposable {
  /** Whether the message was taken. */
  send(message: string): boolean;
  /** Of the clock that systemd means, which is not the one that `process.hrtime` counts from. */
  monotonicMicroseconds(): bigint;
}

// Linux's numbers; there is no systemd elsewhere.
const AF_UNIX = 1;
const SOCK_DGRAM_CLOEXEC = 0o2000002;
const MSG_NOSIGNAL = 0x4000;
const CLOCK_MONOTONIC = 1;
const MAX_ADDRESS_BYTES = 108;

function openChannel(address: string): Channel {
  const to = socketAddress(address);
  const { symbols: libc, close: unload } = dlopen(libcPath(), {
    socket: { args: ["i32", "i32", "i32"], returns: "i32" },
    sendto: { args: ["i32", "ptr", "usize", "i32", "ptr", "u32"], returns: "i64" },
    close: { args: ["i32"], returns: "i32" },
    clock_gettime: { args: ["i32", "ptr"], returns: "i32" },
  });
  const fd = libc.socket(AF_UNIX, SOCK_DGRAM_CLOEXEC, 0);
  if (fd < 0) {
    unload();
    throw new Error("Cannot make a datagram socket: the system refuses one");
  }
  return {
    send: (message) => {
      const bytes = Buffer.from(message);
      return (
        Number(libc.sendto(fd, ptr(bytes), bytes.length, MSG_NOSIGNAL, ptr(to), to.length)) === bytes.length
      );
    },
    monotonicMicroseconds: () => {
      const time = new BigInt64Array(2);
      libc.clock_gettime(CLOCK_MONOTONIC, ptr(time));
      const [seconds = 0n, nanoseconds = 0n] = time;
      return seconds * 1_000_000n + nanoseconds / 1_000n;
    },
    [Symbol.dispose]: () => {
      libc.close(fd);
      unload();
    },
  };
}

/** struct sockaddr_un: the family in the machine's order, then a path with its end, or an abstract name without one. */
function socketAddress(address: string): Buffer {
  const path = Buffer.from(address.startsWith("@") ? `\0${address.slice(1)}` : `${address}\0`);
  if (!/^[@/]/.test(address))
    throw new Error(`Cannot use NOTIFY_SOCKET "${address}": it is neither a path nor abstract`);
  if (path.length > MAX_ADDRESS_BYTES)
    throw new Error(`Cannot use NOTIFY_SOCKET "${address}": it is too long`);
  return Buffer.concat([Buffer.from(new Uint16Array([AF_UNIX]).buffer), path]);
}
