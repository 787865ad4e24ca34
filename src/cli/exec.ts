import { Failure } from "../failure.ts";
import {
  type Exec,
  ExecSchema,
  ExecStateSchema,
  ListExecsResponseSchema,
} from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { clientCommand } from "./client-command.ts";
import { group, manyWords, word } from "./command.ts";
import { detachKeys } from "./detach-keys.ts";
import { doToEach } from "./do-to-each.ts";
import { attachWithShell, tellLeft } from "./exec-session.ts";
import { execColumns, execRecord } from "./exec-view.ts";
import { commandFailureCode, EXIT_CODES } from "./exit-codes.ts";
import { findContainerId, findExecId, findSessionId } from "./find-id.ts";
import { choice, int, size, text, toggle, withDefault } from "./flag.ts";
import { readPages } from "./pages.ts";
import { jsonOf } from "./proto-json.ts";
import { enumNumber, enumWords } from "./words.ts";

const exec = word({ about: "the command: its id, or the beginning of it", completes: "exec" });

const listExecs = clientCommand({
  name: "list",
  summary: "list commands in containers, newest first",
  description:
    "Those that have ended are listed for a while: ten minutes, unless the server was told otherwise.",
  words: {},
  flags: {
    container: text({
      about: "in this container",
      short: "c",
      placeholder: "CONTAINER",
      completes: "container",
    }),
    session: text({ about: "of this session", short: "s", placeholder: "SESSION", completes: "session" }),
    state: choice({ about: "in this state", choices: enumWords(ExecStateSchema), placeholder: "STATE" }),
    limit: int({ about: "how many at most (default all)", min: 1 }),
  },
  examples: [
    { about: "what runs", line: "baaaht exec list --state running" },
    {
      about: "how the commands of a container have ended",
      line: "baaaht exec list -c 0192f3a4 --state ended",
    },
  ],
  run: async ({ client, flags, print }) => {
    const filter = {
      containerId: flags.container === undefined ? "" : await findContainerId(client, flags.container),
      sessionId: flags.session === undefined ? "" : await findSessionId(client, flags.session),
      state: enumNumber(ExecStateSchema, flags.state),
    };
    const { items, ...rest } = await readPages(flags.limit, async (request) => {
      const { execs, ...page } = await client.orchestrator.listExecs({ ...request, filter });
      return { ...page, items: execs };
    });
    await print.list({
      items,
      columns: execColumns(print.times),
      id: ({ id }) => id,
      itemValue: (one) => jsonOf(ExecSchema, one),
      value: () => jsonOf(ListExecsResponseSchema, { ...rest, execs: [...items] }),
    });
    return EXIT_CODES.ok;
  },
});

const getExec = clientCommand({
  name: "get",
  summary: "show a command, and how it ended",
  words: { exec },
  flags: {},
  examples: [{ about: "its exit code", line: "baaaht exec get 0192f3a4 -o json | jq .end.exited.code" }],
  run: async ({ client, words, print }) => {
    const execId = await findExecId(client, words.exec);
    const got = await client.orchestrator.getExec({ execId });
    await print.record(execRecord(required(got.exec), print.times));
    return EXIT_CODES.ok;
  },
});

const attachExec = clientCommand({
  name: "attach",
  summary: "join a command that runs, or read what one has written that has ended",
  description: `Shows what is kept of its output, and what it goes on to write; stdin goes to the command if it takes any. Ends with
the command's own exit code, as "baaaht container exec" does.

Ctrl-P Ctrl-Q, or other --detach-keys, leave a command on a terminal. So does Ctrl-C where there is none, and every
other signal: it goes on then. "baaaht exec kill" ends it.`,
  words: { exec },
  flags: {
    offset: size({
      about: "begin with this byte of its output (default: the oldest that is kept)",
      placeholder: "BYTES",
    }),
    noStdin: toggle({ about: "leave stdin alone" }),
    detachKeys,
  },
  timeoutIsOwn: true,
  failureCode: commandFailureCode,
  examples: [
    { about: "a shell that was left", line: "baaaht exec attach 0192f3a4" },
    { about: "what it has written, without typing into it", line: "baaaht exec attach --no-stdin 0192f3a4" },
  ],
  run: async ({ client, flags, words, shell }) => {
    const execId = await findExecId(client, words.exec);
    const { tty, stdin, outputBytes } = required((await client.orchestrator.getExec({ execId })).exec);
    const interactive = stdin && !flags.noStdin && (shell.in.isTerminal || shell.in.isGiven());
    const { offset, detachKeys: keys } = flags;
    const ended = await attachWithShell(client, {
      shell,
      execId,
      offset,
      written: outputBytes,
      tty,
      interactive,
      detachKeys: keys,
    });
    await tellLeft(shell, ended.left);
    return ended.exitCode;
  },
});

const killExec = clientCommand({
  name: "kill",
  summary: "send a signal to commands, and to what they have started",
  words: {
    execs: manyWords({
      about: "commands: their ids, or the beginnings of them",
      completes: "exec",
      optional: false,
    }),
  },
  flags: {
    signal: withDefault(text({ about: "by name or number", short: "S", placeholder: "SIGNAL" }), "KILL"),
  },
  examples: [
    { about: "one", line: "baaaht exec kill 0192f3a4" },
    {
      about: "all of a container, so that they can end in order",
      line: "baaaht exec list -q -c 0192f3a4 --state running | xargs baaaht exec kill --signal TERM",
    },
  ],
  run: async ({ client, flags, words, print }) =>
    await doToEach(words.execs, async (one) => {
      const execId = await findExecId(client, one);
      const sent = await client.orchestrator.signalExec({ execId, signal: flags.signal });
      await print.record(execRecord(required(sent.exec), print.times));
    }),
});

export const execGroup = group({
  name: "exec",
  summary: "list, join and end commands that run in containers",
  description: 'To run one: "baaaht container exec".',
  commands: [listExecs, getExec, attachExec, killExec],
});

function required(part: Exec | undefined): Exec {
  if (part === undefined)
    throw new Failure("internal", "Cannot read the server's answer: it has no command in it");
  return part;
}
