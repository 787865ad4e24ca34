import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { canInstallPackages } from "./debian-packages.ts";
import { callEngine, whyUnusable } from "./engine-api.ts";
import * as state from "./engine-state.ts";
import { lockFile } from "./file-lock.ts";
import { privateEngineHost, startPrivateEngine, stopPrivateEngine } from "./private-engine.ts";
import { type Progress, toStderr } from "./progress.ts";
import { SetUpError } from "./set-up-error.ts";

const ROOT = resolve(import.meta.dir, "..");
/** Long enough for another process that installs Docker while it holds the lock. */
const LOCK_TIMEOUT_MS = 600_000;

/** A Docker engine that answers. Disposing gives it back: one that we started stops when its last user is gone. */
export interface Engine extends AsyncDisposable {
  /** As in DOCKER_HOST. */
  readonly dockerHost: string;
  /** "20.10.24 (API 1.41, overlay2)" */
  readonly description: string;
  readonly isPrivate: boolean;
}

export interface EngineOptions {
  readonly progress: Progress;
  /** `keep`: stays up when nobody uses it any more, until `bun scripts/engine.ts down`. */
  readonly afterUse: "stop" | "keep";
}

/**
 * Finds an engine that can be used, or starts a private one: DOCKER_HOST (and nothing else when it is set), then the
 * usual socket paths, then the private engine that is up already, then a new one.
 *
 * @throws SetUpError in two lines that say what to install, where none is found and none can be started.
 */
export async function bringUpEngine(options: EngineOptions): Promise<Engine> {
  const { progress } = options;
  const found = await findHostEngine();
  if (found !== undefined) return await describe(found, false, async () => {});
  if (process.platform !== "linux" || process.getuid?.() !== 0)
    throw new SetUpError(adviceFor(process.platform));
  state.prepareEngineFolder();
  using _lock = await lockFile(join(state.ENGINE_FOLDER, "lock"), LOCK_TIMEOUT_MS);
  let host = await privateEngineHost();
  if (host === undefined) {
    progress(
      `No Docker engine answers on this machine${canInstallPackages() ? "" : ", and this is no Debian"}.`,
    );
    host = await startPrivateEngine(ROOT, progress);
  }
  if (options.afterUse === "keep" || process.env.BAAAHT_KEEP_ENGINE === "1") state.setKept("keep");
  state.takeLease();
  return await describe(host, true, () => giveBack(progress));
}

/** The engine of the host, or undefined where there is none. Never starts one. */
export async function findHostEngine(): Promise<string | undefined> {
  const chosen = process.env.DOCKER_HOST;
  if (chosen !== undefined && chosen !== "") {
    const reason = await whyUnusable(chosen);
    if (reason === undefined) return chosen;
    throw new SetUpError(
      `Cannot use the Docker engine of DOCKER_HOST "${chosen}": ${reason}\n` +
        "Start it, or unset DOCKER_HOST to have one found.",
    );
  }
  for (const path of usualSockets().filter(existsSync)) {
    if ((await whyUnusable(`unix://${path}`)) === undefined) return `unix://${path}`;
  }
  return undefined;
}

/** Ends the private engine now, or as soon as the last run that uses it is over. */
async function takeDown(progress: Progress): Promise<void> {
  if (!existsSync(state.ENGINE_FOLDER)) return progress("No private engine is up.");
  using _lock = await lockFile(join(state.ENGINE_FOLDER, "lock"), LOCK_TIMEOUT_MS);
  if (state.readState() === undefined) progress("No private engine is up.");
  state.setKept("stop-when-unused");
  const holders = state.leaseHolders();
  if (holders.length > 0) return progress(`It is used by ${holders.join(", ")} and stops when they end.`);
  await stopPrivateEngine(progress);
}

async function giveBack(progress: Progress): Promise<void> {
  using _lock = await lockFile(join(state.ENGINE_FOLDER, "lock"), LOCK_TIMEOUT_MS);
  state.returnLease();
  if (state.leaseHolders().length === 0 && !state.isKept()) await stopPrivateEngine(progress);
}

async function describe(
  dockerHost: string,
  isPrivate: boolean,
  dispose: () => Promise<void>,
): Promise<Engine> {
  const info = await (await callEngine(dockerHost, "/info")).json();
  const version = await (await callEngine(dockerHost, "/version")).json();
  const facts = `API ${text(version, "ApiVersion")}, ${text(info, "Driver")}, cgroup v${text(info, "CgroupVersion")}`;
  const description = `${text(version, "Version")} (${facts})`;
  let given = false;
  return {
    dockerHost,
    isPrivate,
    description,
    [Symbol.asyncDispose]: async () => {
      if (given) return;
      given = true;
      await dispose();
    },
  };
}

function text(object: unknown, key: string): string {
  if (typeof object !== "object" || object === null || !(key in object)) return "?";
  return String(Object.entries(object).find(([name]) => name === key)?.[1]);
}

function usualSockets(): string[] {
  const runtime = process.env.XDG_RUNTIME_DIR;
  return [
    "/var/run/docker.sock",
    ...(runtime === undefined ? [] : [join(runtime, "docker.sock")]),
    join(homedir(), ".docker/run/docker.sock"),
    join(homedir(), ".docker/desktop/docker.sock"),
    join(homedir(), ".colima/default/docker.sock"),
  ];
}

function adviceFor(platform: string): string {
  if (platform !== "linux") {
    return "No Docker engine answers on this machine.\nInstall Docker Desktop, or set DOCKER_HOST to an engine.";
  }
  const install =
    canInstallPackages() || Bun.which("apt-get") !== null
      ? "sudo apt-get install docker.io"
      : "your system's Docker package";
  return `No Docker engine answers that this user may talk to.\nInstall one (${install}) and join the group docker, or run this as root.`;
}

if (import.meta.main) {
  try {
    switch (process.argv[2]) {
      case "up": {
        const engine = await bringUpEngine({ progress: toStderr, afterUse: "keep" });
        state.returnLease();
        toStderr(`Docker ${engine.description} at ${engine.dockerHost}`);
        break;
      }
      case "down":
        await takeDown(toStderr);
        break;
      case "env": {
        const host = (await findHostEngine()) ?? (await privateEngineHost());
        if (host === undefined)
          throw new SetUpError("No engine is up.\nStart one with: bun scripts/engine.ts up");
        process.stdout.write(`export DOCKER_HOST=${host}\n`);
        break;
      }
      default:
        throw new SetUpError("Usage: bun scripts/engine.ts up|down|env");
    }
  } catch (error) {
    if (!(error instanceof SetUpError)) throw error;
    toStderr(error.message);
    process.exitCode = 1;
  }
}
