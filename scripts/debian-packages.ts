import { chmodSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { Progress } from "./progress.ts";
import { runCommand } from "./run-command.ts";
import { SetUpError } from "./set-up-error.ts";

const POLICY = "/usr/sbin/policy-rc.d";

/** Whether this process may install Debian packages: apt-get is there and it runs as root. */
export function canInstallPackages(): boolean {
  return isDebian() && process.getuid?.() === 0;
}

/** Debian, or a system that calls itself like it (Ubuntu). */
function isDebian(): boolean {
  if (Bun.which("apt-get") === null || !existsSync("/etc/os-release")) return false;
  return /^ID(_LIKE)?=.*(debian|ubuntu)/m.test(readFileSync("/etc/os-release", "utf8"));
}

/**
 * Installs packages without their recommendations and without starting the services they bring: a package named
 * docker.io would otherwise start an engine on the host's own socket that nobody asked for.
 *
 * @throws SetUpError with the end of apt's output when it fails.
 */
export function installPackages(names: readonly string[], progress: Progress): Promise<void> {
  const installed = installing.then(() => install(names, progress));
  installing = installed.catch(() => {});
  return installed;
}

/** One after the other: they share apt's lists, and the switch that keeps services from starting. */
let installing: Promise<void> = Promise.resolve();

async function install(names: readonly string[], progress: Progress): Promise<void> {
  progress(`  installing ${names.join(", ")} from Debian's archive`);
  await apt(["update", "-q"]);
  using _quiet = withoutServiceStarts();
  await apt(["install", "-q", "-y", "--no-install-recommends", ...names], (line) => {
    const step = /^(Setting up|Get:\d+) .*/.exec(line);
    if (step !== null) progress(`    ${step[0]}`);
  });
}

async function apt(args: readonly string[], onLine?: (line: string) => void): Promise<void> {
  const done = await runCommand(["apt-get", "-o", "DPkg::Lock::Timeout=120", ...args], {
    env: { DEBIAN_FRONTEND: "noninteractive" },
    ...(onLine === undefined ? {} : { onLine }),
  });
  if (done.exitCode !== 0) {
    const end = done.output.trim().split("\n").slice(-8).join("\n");
    throw new SetUpError(`Cannot run "apt-get ${args.join(" ")}": it ended with ${done.exitCode}\n${end}`);
  }
}

/** Debian's own switch: maintainer scripts ask policy-rc.d before they start anything, and 101 means no. */
function withoutServiceStarts(): Disposable {
  if (existsSync(POLICY)) return { [Symbol.dispose]: () => {} };
  writeFileSync(POLICY, "#!/bin/sh\nexit 101\n");
  chmodSync(POLICY, 0o755);
  const remove = (): void => rmSync(POLICY, { force: true });
  process.once("exit", remove);
  return {
    [Symbol.dispose]: () => {
      process.removeListener("exit", remove);
      remove();
    },
  };
}
