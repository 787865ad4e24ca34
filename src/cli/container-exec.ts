import { clientCommand } from "./client-command.ts";
import { commandWords, word } from "./command.ts";
import { detachKeys } from "./detach-keys.ts";
import { checkTerminal, execWithShell, tellLeft } from "./exec-session.ts";
import { execRecord } from "./exec-view.ts";
import { commandFailureCode, EXIT_CODES } from "./exit-codes.ts";
import { findContainerId } from "./find-id.ts";
import { duration, pairs, problem, text, toggle } from "./flag.ts";
import { nanoseconds } from "./limit-flags.ts";
import { startDetached } from "./start-detached.ts";

export const execCommand = clientCommand({
  name: "exec",
  summary: "run a command in a running container",
  description: `Ends with the command's own exit code; 124 when its time was over, 128 and the signal's number when a signal
has killed it, 125 when it was not run or how it ended can't be told; 127 when there is no such command, 126 when it
can't be run. Ctrl-C is passed on to the command; a second one ends it. Flags of COMMAND stand behind its first word,
or behind --.

With -it you type into the command as if it ran here. Ctrl-P Ctrl-Q, or other --detach-keys, leave it: it goes on, as
it does when the connection is lost, and "baaaht exec attach" joins it again. With -d it is left from the start.`,
  words: {
    container: word({
      about: "the container: its id, the beginning of it, or its name",
      completes: "container",
    }),
    command: commandWords({ about: "what to run in it, without a shell", optional: false }),
  },
  flags: {
    interactive: toggle({ about: "pass stdin on", short: "i" }),
    tty: toggle({ about: "give it a terminal", short: "t" }),
    detach: toggle({ about: "leave it running, and print its id", short: "d" }),
    detachKeys,
    env: pairs({ about: "a variable of its environment", short: "e" }),
    workdir: text({ about: "the folder that it starts in", short: "w", placeholder: "PATH" }),
    user: text({ about: "user, uid, user:group or uid:gid", short: "u" }),
    timeout: duration({ about: "how long it may run; then it is killed" }),
  },
  timeoutIsOwn: true,
  failureCode: commandFailureCode,
  examples: [
    { about: "a word from it", line: "baaaht container exec 0192f3a4 -- uname -a" },
    { about: "a shell to type into", line: "baaaht container exec -it 0192f3a4 sh" },
    {
      about: "something long, and what it says",
      line: "baaaht exec attach $(baaaht container exec -dq 0192f3a4 make)",
    },
    { about: "a file into it", line: "baaaht container exec -i 0192f3a4 -- sh -c 'cat > /tmp/in' < in.txt" },
  ],
  run: async ({ client, flags, words, shell, print }) => {
    if (flags.detach && flags.interactive)
      throw problem("--detach can't be had together with --interactive: nobody would type");
    checkTerminal(shell, flags);
    const containerId = await findContainerId(client, words.container);
    const start = {
      containerId,
      command: [...words.command],
      env: flags.env,
      workingDir: flags.workdir ?? "",
      user: flags.user ?? "",
      timeoutNs: nanoseconds(flags.timeout),
    };
    if (flags.detach) {
      const started = await startDetached(client, { ...start, tty: flags.tty });
      await print.record(execRecord(started, print.times));
      return EXIT_CODES.ok;
    }
    const { tty, interactive } = flags;
    const ended = await execWithShell(client, {
      shell,
      tty,
      interactive,
      detachKeys: flags.detachKeys,
      start,
    });
    await tellLeft(shell, ended.left);
    return ended.exitCode;
  },
});
