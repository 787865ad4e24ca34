import { clientCommand } from "./client-command.ts";
import { commandWords, word } from "./command.ts";
import { checkTerminal, execWithShell } from "./exec-session.ts";
import { commandFailureCode } from "./exit-codes.ts";
import { findContainerId } from "./find-id.ts";
import { duration, pairs, text, toggle } from "./flag.ts";
import { nanoseconds } from "./limit-flags.ts";

export const execCommand = clientCommand({
  name: "exec",
  summary: "run a command in a running container",
  description: `Ends with the command's own exit code; 124 when its time was over, 128 and the signal's number when a signal
has killed it, 125 when it was not run or how it ended can't be told. Ctrl-C is passed on to the command; a second
one ends it. Flags of COMMAND stand behind its first word, or behind --.`,
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
    { about: "a file into it", line: "baaaht container exec -i 0192f3a4 -- sh -c 'cat > /tmp/in' < in.txt" },
  ],
  run: async ({ client, flags, words, shell }) => {
    checkTerminal(shell, flags);
    const containerId = await findContainerId(client, words.container);
    return await execWithShell(client, {
      shell,
      tty: flags.tty,
      interactive: flags.interactive,
      start: {
        containerId,
        command: [...words.command],
        env: flags.env,
        workingDir: flags.workdir ?? "",
        user: flags.user ?? "",
        timeoutNs: nanoseconds(flags.timeout),
      },
    });
  },
});
