import { existsSync, realpathSync } from "node:fs";
import { type Mount, MountType } from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { clientCommand } from "./client-command.ts";
import { commandWords, word } from "./command.ts";
import { containerConfigOf, containerFlags, pullPolicyOf } from "./container-flags.ts";
import { containerRecord } from "./container-view.ts";
import { detachKeys } from "./detach-keys.ts";
import { checkTerminal, execWithShell, tellLeft } from "./exec-session.ts";
import { commandFailureCode, EXIT_CODES } from "./exit-codes.ts";
import { duration, type FlagValues, problem, text, toggle, withDefault } from "./flag.ts";
import { FreshSession } from "./fresh-session.ts";
import { nanoseconds } from "./limit-flags.ts";
import { followMainProcess } from "./main-process.ts";
import { mountsOf } from "./mount-flags.ts";
import type { Shell } from "./shell.ts";
import { stopOnSignals } from "./stop-on-signals.ts";

const flags = {
  ...containerFlags,
  name: text({ about: "the session's name (default: run and the image)", short: "n" }),
  timeout: duration({ about: "how long the command may run; then it is killed" }),
  interactive: toggle({ about: "pass stdin on; so it is anyway when a pipe or a file is there", short: "i" }),
  tty: toggle({ about: "give the command a terminal", short: "t" }),
  detach: toggle({
    about: "leave it running, keep session and container, and print the container",
    short: "d",
  }),
  detachKeys,
  noStdin: toggle({ about: "leave stdin alone, whatever is there" }),
  network: toggle({ about: "let it use a network; --publish does that too" }),
  keep: toggle({ about: "keep session and container; says on stderr which they are" }),
  idleCommand: withDefault(
    text({
      about: "what keeps the container running where stdin or a terminal is passed on",
      placeholder: "COMMAND",
    }),
    "sleep 2147483647",
  ),
};

export const runCommand = clientCommand({
  name: "run",
  summary: "run a command in a fresh container of a fresh session",
  description: `Stdout and stderr come as they are, stdin goes to the command when a pipe or a file is there or with -i, and
session and container are removed at the end. COMMAND takes the place of the image's entrypoint. Flags of COMMAND
stand behind its first word, or behind --.

Ends with the command's own exit code; 124 when its time was over, 128 and the signal's number when a signal has
killed it, 127 when there is no such command and 126 when it can't be run, 125 when it was not run for another reason. Ctrl-C is passed on to the command; a second one kills it.

With -it you type into the command as if it ran here. Ctrl-P Ctrl-Q, or other --detach-keys, leave it: session and
container are then kept, the session until nothing has happened in it for ten minutes or, with --keep, for good. With -d
nothing is passed on, and it goes on from the start.

Where stdin or a terminal is passed on, the container runs --idle-command, and COMMAND runs beside it: the image needs
such a command.`,
  words: {
    image: word({ about: "the image to make the container of" }),
    command: commandWords({ about: "what to run (default: the image's own command)", optional: true }),
  },
  flags,
  timeoutIsOwn: true,
  failureCode: commandFailureCode,
  examples: [
    { about: "untrusted code, without a network", line: "baaaht run python:3.12 python -c 'print(6 * 7)'" },
    {
      about: "with stdin, at most ten seconds and 128 MiB",
      line: "baaaht run --timeout 10s --memory 128m debian:12 wc -l < words.txt",
    },
    {
      about: "with a folder of the host to read and one to write",
      line: "baaaht run -v ./src:/src:ro -v ./out:/out debian:12 cp -r /src /out",
    },
    { about: "a port of this host that leads into it", line: "baaaht run -p 8080:80 nginx:1" },
    {
      about: "a service, and what it says",
      line: "baaaht container logs -f $(baaaht run -dq python:3.12 python -m http.server)",
    },
    { about: "a shell to look around", line: "baaaht run -it debian:12 bash" },
  ],
  run: async ({ client, flags: given, words, shell, print }) => {
    const passesInput = takesInput(given, shell);
    checkTerminal(shell, { tty: given.tty, interactive: passesInput });
    if (passesInput && words.command.length === 0) {
      throw problem("COMMAND is missing: stdin and a terminal need one to go to (or --no-stdin)");
    }
    if (passesInput && given.keepEntrypoint) {
      throw problem("--keep-entrypoint can't be had together with stdin or a terminal (or --no-stdin)");
    }
    using creating = stopOnSignals(shell, undefined);
    try {
      await using session = await FreshSession.open(client, {
        metadata: { name: given.name ?? `run ${words.image}`, labels: given.label },
        policy: policyFor(mountsOf(given), given.network || given.publish.length > 0),
        keep: given.keep || given.detach,
        shell,
        signal: creating.signal,
      });
      const command = passesInput
        ? given.idleCommand.split(" ").filter((part) => part !== "")
        : words.command;
      const containerId = await session.createContainer({
        config: containerConfigOf({ flags: given, image: words.image, command }),
        pull: pullPolicyOf(given),
      });
      creating[Symbol.dispose](); // from here on signals are the command's
      if (given.detach) {
        const { container } = await client.orchestrator.getContainer({ containerId });
        if (container !== undefined) await print.record(containerRecord(container, print.times));
        return EXIT_CODES.ok;
      }
      if (!passesInput)
        return await followMainProcess(client, { containerId, shell, timeoutMs: given.timeout });
      const start = { containerId, command: [...words.command], timeoutNs: nanoseconds(given.timeout) };
      const { tty, detachKeys: keys } = given;
      const ended = await execWithShell(client, { shell, tty, interactive: true, detachKeys: keys, start });
      if (ended.left !== undefined) session.keep();
      await tellLeft(shell, ended.left);
      return ended.exitCode;
    } catch (error) {
      const exitCode = creating.exitCode();
      if (exitCode === undefined) throw error;
      return exitCode;
    }
  },
});

/** What the fresh session has to allow for what was asked for. */
function policyFor(mounts: readonly Mount[], allowNetwork: boolean) {
  const ofHost = mounts.filter(({ type }) => type === MountType.BIND);
  return {
    allowNetwork,
    allowVolumeMount: mounts.some(({ type }) => type !== MountType.TMPFS),
    // Without symbolic links, which allowed paths may not have.
    allowedPaths: ofHost.map(({ source }) => realPath(source)),
  };
}

/** What is not there is for the server to say. */
function realPath(path: string): string {
  return existsSync(path) ? realpathSync(path) : path;
}

/** Whether the command gets stdin: because it was asked for, or because something was put there. */
function takesInput(given: FlagValues<typeof flags>, shell: Shell): boolean {
  const { interactive, tty, noStdin, detach, timeout } = given;
  if (detach && (interactive || tty))
    throw problem("--detach can't be had together with --interactive or --tty: nobody would type");
  if (detach && timeout !== undefined)
    throw problem("--detach can't be had together with --timeout: nobody would be there to end it");
  if (noStdin && (interactive || tty))
    throw problem("--no-stdin can't be had together with --interactive or --tty");
  return interactive || tty || (!noStdin && !detach && shell.in.isGiven());
}
