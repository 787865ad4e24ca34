import { writeDuration } from "../quantity.ts";
import { type Beside, RunningBeside } from "./beside.ts";
import type { LoadedConfig } from "./config.ts";
import type { Log } from "./log.ts";
import { tableEntries } from "./setting-checks.ts";

/** How much longer than its drain a program may take to end, in milliseconds. */
const END_MS = 1_000;

/** The same for a worker: it removes the containers of tasks that have not ended. */
const WORKER_END_MS = 4_000;

/** Starts what the configuration wants to have beside the server. Disposing ends all of it. */
export function startBeside(loaded: LoadedConfig, words: Log): AsyncDisposable {
  const running = wanted(loaded, words).map((program) => new RunningBeside(program));
  return {
    [Symbol.asyncDispose]: async () => {
      // At once: each has the same time.
      await Promise.all(running.map((program) => program[Symbol.asyncDispose]()));
    },
  };
}

function wanted(loaded: LoadedConfig, words: Log): readonly Beside[] {
  const { assistant, worker, grpc, shutdownTimeoutMs } = loaded.config;
  // The calls of everybody else have to end in time too.
  const drainFor = (ms: number): number => Math.min(ms, Math.ceil(shutdownTimeoutMs / 2));
  const socket = ["--grpc-socket-path", grpc.socketPath];
  const programs: Beside[] = [];
  if (assistant.beside === "on") {
    const drainMs = drainFor(assistant.drainTimeoutMs);
    programs.push({
      name: "assistant",
      args: ["assistant", "run", ...socket],
      env: {
        ...environmentOf(loaded, "assistant"),
        BAAAHT_ASSISTANT_DRAIN_TIMEOUT: writeDuration(drainMs),
      },
      endWithinMs: drainMs + END_MS,
      words,
    });
  }
  if (worker.beside === "on") {
    const drainMs = drainFor(worker.drainTimeoutMs);
    programs.push({
      name: "worker",
      args: ["agent", "run", ...socket, ...workerFlags(worker), "--drain-timeout", writeDuration(drainMs)],
      env: {},
      endWithinMs: drainMs + WORKER_END_MS,
      words,
    });
  }
  return programs;
}

/** What the configuration says of the worker, in the words of `agent run`. */
function workerFlags(worker: LoadedConfig["config"]["worker"]): readonly string[] {
  return [
    ...["--name", "worker beside the server", "--max-tasks", String(worker.maxTasks), "--pull", worker.pull],
    ...tableEntries(worker.languages).flatMap((entry) => ["--language", entry]),
    ...tableEntries(worker.tools).flatMap((entry) => ["--tool", entry]),
    ...(worker.image === "" ? [] : ["--image", worker.image]),
    ...(worker.allowNetwork === "on" ? ["--allow-network"] : []),
  ];
}

/** A section of the configuration as the variables that say the same. */
function environmentOf({ values }: LoadedConfig, section: string): Readonly<Record<string, string>> {
  const own = values.filter(({ path }) => path[0] === section);
  return Object.fromEntries(
    own.flatMap(({ environment: [variable], setting, value }) =>
      variable === undefined ? [] : [[variable, setting.write(value)]],
    ),
  );
}
