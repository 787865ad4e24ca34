import { type Command, command } from "./command.ts";
import { EXIT_CODES, SIGNAL_EXIT_CODES } from "./exit-codes.ts";
import { toggle } from "./flag.ts";
import { outputFlags } from "./output.ts";
import { serverFlags, serverFlagsGiven } from "./server-flags.ts";
import type { Server, Shell } from "./shell.ts";

export async function serveCommand(server: Server): Promise<Command> {
  const declared = await serverFlags(server);
  return command({
    name: "serve",
    summary: "start the server",
    description: `Serves until SIGTERM or Ctrl-C, then ends calls in progress and stops; a second signal stops at once.
SIGHUP reads the configuration again. Containers go on without the server.
Flags win over the environment, that over the configuration file, and that over the defaults;
"baaaht config show" says where each value comes from.`,
    words: {},
    flags: {
      ...declared,
      noWarm: toggle({ about: "the same as --warm off: every start waits for the engine" }),
      output: outputFlags.output,
    },
    examples: [
      { about: "with all defaults", line: "baaaht serve" },
      {
        about: "apart from another one",
        line: "baaaht serve --grpc-socket-path /run/b2.sock --data-dir /var/lib/b2",
      },
    ],
    run: async ({ flags, shell }) => {
      const stop = new AbortController();
      using _signals = stopOnSignals(shell, stop);
      const given = serverFlagsGiven(flags, declared);
      await shell.server.serve(flags.noWarm ? { ...given, warm: "off" } : given, {
        signal: stop.signal,
        onReload: (act) => shell.onSignals(["SIGHUP"], act),
      });
      return EXIT_CODES.ok;
    },
  });
}

function stopOnSignals(shell: Shell, stop: AbortController): Disposable {
  return shell.onSignals(["SIGINT", "SIGTERM"], (signal) => {
    if (stop.signal.aborted) shell.endNow(SIGNAL_EXIT_CODES[signal]);
    stop.abort();
  });
}
