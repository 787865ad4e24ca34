import { writeDuration } from "../quantity.ts";
import { type Beside, RunningBeside } from "./beside.ts";
import type { LoadedConfig } from "./config.ts";
import type { Log } from "./log.ts";

/** How much longer than its drain a program may take to end, in milliseconds. */
const END_MS = 1_000;

/** Starts what the configuration wants to have beside the server. Disposing ends all of it. */
export function startBeside(loaded: LoadedConfig, words: Log): AsyncDisposable {
  const stack = new AsyncDisposableStack();
  for (const program of wanted(loaded, words)) stack.use(new RunningBeside(program));
  return stack;
}

function wanted(loaded: LoadedConfig, words: Log): readonly Beside[] {
  const { assistant, grpc, shutdownTimeoutMs } = loaded.config;
  // The calls of everybody else have to end in time too.
  const drainMs = Math.min(assistant.drainTimeoutMs, Math.ceil(shutdownTimeoutMs / 2));
  const socket = ["--grpc-socket-path", grpc.socketPath];
  const programs: Beside[] = [];
  if (assistant.beside === "on") {
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
  return programs;
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
