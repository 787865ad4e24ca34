import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { Failure } from "../failure.ts";
import {
  type CancelTaskResponse,
  CancelTaskResponseSchema,
  ListTasksResponseSchema,
  StreamTaskResponseSchema,
  type Task,
  TaskPrioritySchema,
  TaskSchema,
  TaskState,
  TaskStateSchema,
  TaskTypeSchema,
} from "../gen/proto/agent/v1/agent_pb.ts";
import { cell, stateCell } from "./cell.ts";
import { clientCommand } from "./client-command.ts";
import { commandWords, group, manyWords, word } from "./command.ts";
import { doToEach } from "./do-to-each.ts";
import { commandFailureCode, EXIT_CODES } from "./exit-codes.ts";
import { findAgentId, findSessionId, findTaskId } from "./find-id.ts";
import { anyText, choice, instant, int, problem, text, toggle } from "./flag.ts";
import { readPages } from "./pages.ts";
import { jsonOf } from "./proto-json.ts";
import type { Shell } from "./shell.ts";
import { taskFlags, taskRequestOf } from "./task-flags.ts";
import { followTask } from "./task-follow.ts";
import { taskColumns, taskRecord } from "./task-view.ts";
import { enumNumber, enumWord, enumWords } from "./words.ts";

const task = word({ about: "the task: its id, the beginning of it, or its name", completes: "task" });
const command = commandWords({ about: "what to run, without a shell", optional: true });

const runTask = clientCommand({
  name: "run",
  summary: "have a worker do a task, and wait for it",
  description: `Stdout and stderr come as they are, stdin goes to the task when a pipe or a file is there or with -i. Flags of COMMAND
stand behind its first word, or behind --. Ends with the task's exit code; 124 when its time was over, 125 when it failed,
127 when there is no such command and 126 when it can't be run. Ctrl-C cancels the task, a second one does not wait for
its end.

Without COMMAND, --code and --script the program itself is read from stdin.`,
  words: { command },
  flags: {
    ...taskFlags,
    interactive: toggle({
      about: "pass stdin on; so it is anyway when a pipe or a file is there",
      short: "i",
    }),
    noStdin: toggle({ about: "leave stdin alone, whatever is there" }),
  },
  timeoutIsOwn: true,
  failureCode: commandFailureCode,
  examples: [
    { about: "a program", line: "baaaht task run --code 'print(6 * 7)'" },
    {
      about: "the same from a file, with words of its own",
      line: "baaaht task run --script fit.py -- --rounds 3",
    },
    {
      about: "a command over some data, for ten seconds at most",
      line: "baaaht task run --timeout 10s wc -l < words.txt",
    },
    {
      about: "again on another worker if its own is lost",
      line: "baaaht task run --retries 3 --image debian:12 make",
    },
  ],
  run: async ({ client, flags, words, shell }) => {
    const isProgram = isMissing(words.command, flags);
    if (flags.noStdin && (flags.interactive || isProgram)) {
      throw problem(
        isProgram ? "COMMAND, --code or --script is missing" : "--no-stdin can't be had together with -i",
      );
    }
    const passes = !flags.noStdin && (flags.interactive || shell.in.isGiven());
    if (isProgram && !passes)
      throw problem("COMMAND, --code or --script is missing, and nothing is on stdin");
    const request = await taskRequestOf(client, { flags, command: words.command });
    if (isProgram && request.config !== undefined) request.config.inputData = await everything(shell);
    const { taskId } = await client.agent.executeTask(request);
    const input = isProgram || !passes ? nothing : (signal: AbortSignal) => shell.in.read(signal);
    return await followTask(client, { taskId, shell, input, onSignal: "cancel" });
  },
});

const createTask = clientCommand({
  name: "create",
  summary: "have a worker do a task, without waiting for it",
  description: 'Its stdin is empty but for --data. "baaaht task watch" shows its output, now or later.',
  words: { command },
  flags: {
    ...taskFlags,
    openInput: toggle({ about: "leave its stdin open for what callers will send on its stream" }),
  },
  timeoutIsOwn: true,
  examples: [
    {
      about: "a program, and what it says",
      line: "baaaht task watch $(baaaht task create -q --script fit.py)",
    },
    { about: "before all others", line: "baaaht task create --priority critical -- make release" },
    {
      about: "a file of a session's volume",
      line: "baaaht task create --type file-operation -s build -p volume=files -- read /workspace/log",
    },
  ],
  run: async ({ client, flags, words, print }) => {
    if (isMissing(words.command, flags) && flags.config === undefined && !flags.openInput)
      throw problem("COMMAND, --code or --script is missing");
    const parameters = flags.openInput ? { input: "stream" } : { input: "stdin" };
    const request = await taskRequestOf(client, { flags, command: words.command, parameters });
    const created = await client.agent.executeTask(request);
    await print.record(taskRecord(required(created.task), print.times));
    return EXIT_CODES.ok;
  },
});

const listTasks = clientCommand({
  name: "list",
  summary: "list tasks, newest first",
  words: {},
  flags: {
    state: choice({ about: "in this state", choices: enumWords(TaskStateSchema), placeholder: "STATE" }),
    type: choice({ about: "of this type", choices: enumWords(TaskTypeSchema), placeholder: "TYPE" }),
    priority: choice({ about: "of this priority", choices: enumWords(TaskPrioritySchema) }),
    session: text({ about: "of this session", short: "s", placeholder: "SESSION", completes: "session" }),
    agent: text({ about: "that this agent has or had", placeholder: "AGENT", completes: "agent" }),
    since: instant({ about: "accepted since then" }),
    until: instant({ about: "accepted before then" }),
    limit: int({ about: "how many at most (default all)", min: 1 }),
  },
  examples: [
    { about: "what waits for a worker", line: "baaaht task list --state queued" },
    { about: "what failed in the last hour", line: "baaaht task list --state failed --since 1h" },
    { about: "why", line: "baaaht task list --state failed -o json | jq '.tasks[].error.message'" },
  ],
  run: async ({ client, flags, print }) => {
    const agentId = flags.agent === undefined ? "" : await findAgentId(client, flags.agent);
    const filter = {
      state: enumNumber(TaskStateSchema, flags.state),
      type: enumNumber(TaskTypeSchema, flags.type),
      priority: enumNumber(TaskPrioritySchema, flags.priority),
      sessionId: flags.session === undefined ? "" : await findSessionId(client, flags.session),
      ...(flags.since && { createdAfter: timestampFromDate(flags.since) }),
      ...(flags.until && { createdBefore: timestampFromDate(flags.until) }),
    };
    const { items, ...rest } = await readPages(flags.limit, async (request) => {
      const { tasks, ...page } = await client.agent.listTasks({ ...request, agentId, filter });
      return { ...page, items: tasks };
    });
    await print.list({
      items,
      columns: taskColumns(print.times),
      id: ({ id }) => id,
      itemValue: (one) => jsonOf(TaskSchema, one),
      value: () => jsonOf(ListTasksResponseSchema, { ...rest, tasks: [...items] }),
    });
    return EXIT_CODES.ok;
  },
});

const getTask = clientCommand({
  name: "get",
  summary: "show a task, and how it ended",
  words: { task },
  flags: {},
  examples: [
    { about: "its exit code", line: "baaaht task get 0192f3a4 -o json | jq .result.exitCode" },
    { about: "why it waits", line: "baaaht task get 0192f3a4 -o json | jq .stateReason" },
  ],
  run: async ({ client, words, print }) => {
    const got = await client.agent.getTaskStatus({ taskId: await findTaskId(client, words.task) });
    await print.record(taskRecord(required(got.task), print.times));
    return EXIT_CODES.ok;
  },
});

const watchTask = clientCommand({
  name: "watch",
  summary: "show a task's output from its beginning to its end",
  description: `Ends with the task's exit code, as "baaaht task run" does. Ctrl-C leaves the task alone. With -o json everything that
is told of it is written, one answer after the other.`,
  words: { task },
  flags: {},
  failureCode: commandFailureCode,
  examples: [
    { about: "what it has written and will write", line: "baaaht task watch 0192f3a4" },
    { about: "how far it is", line: "baaaht task watch 0192f3a4 -o jsonl | jq '.progress.percent // empty'" },
  ],
  run: async ({ client, words, flags, shell, print }) => {
    const taskId = await findTaskId(client, words.task);
    const isForPeople = flags.output === "table" && !flags.quiet;
    return await followTask(client, {
      taskId,
      shell,
      input: undefined,
      onSignal: "leave",
      ...(!isForPeople && {
        show: async (frame) =>
          await print.entry({
            id: taskId,
            value: () => jsonOf(StreamTaskResponseSchema, frame),
            line: () => "",
          }),
      }),
    });
  },
});

const cancelTasks = clientCommand({
  name: "cancel",
  summary: "give up tasks",
  words: {
    tasks: manyWords({
      about: "tasks: their ids, the beginnings of them, or their names",
      completes: "task",
      optional: false,
    }),
  },
  flags: {
    force: toggle({ about: "kill them at once", short: "f" }),
    reason: anyText({ about: "why, for people; kept with the task and in the log", short: "r" }),
  },
  examples: [
    { about: "one", line: "baaaht task cancel 0192f3a4" },
    { about: "all that waits", line: "baaaht task list -q --state queued | xargs baaaht task cancel" },
  ],
  run: async ({ client, flags, words, print }) =>
    await doToEach(words.tasks, async (one) => {
      const taskId = await findTaskId(client, one);
      const { force, reason = "" } = flags;
      const cancelled = await client.agent.cancelTask({ taskId, force, reason });
      await print.record({
        id: taskId,
        value: () => jsonOf(CancelTaskResponseSchema, cancelled),
        rows: () => [
          ["ID", cell(taskId)],
          ["State", stateCell(enumWord(TaskStateSchema, cancelled.state))],
          ["Cancelled", cell(howCancelled(cancelled))],
        ],
      });
    }),
});

/** Whether it is over: a task that is being done is its worker's until that has given it up. */
function howCancelled({ cancelled, state }: CancelTaskResponse): string {
  if (!cancelled) return "no, it had ended";
  return state === TaskState.CANCELLED ? "yes" : "asked for; its worker is giving it up";
}

export const taskGroup = group({
  name: "task",
  summary: "have workers do tasks",
  description:
    'Workers are agents: "baaaht agent run" is one, and "baaaht serve --worker" runs it beside the server.',
  commands: [runTask, createTask, listTasks, getTask, watchTask, cancelTasks],
});

/** Whether nothing says what is to be run. */
function isMissing(
  words: readonly string[],
  { code, script, config }: { readonly code?: unknown; readonly script?: unknown; readonly config?: unknown },
): boolean {
  return words.length === 0 && code === undefined && script === undefined && config === undefined;
}

async function everything(shell: Shell): Promise<Uint8Array> {
  return Buffer.concat(await Array.fromAsync(shell.in.read(new AbortController().signal)));
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

function required(part: Task | undefined): Task {
  if (part === undefined)
    throw new Failure("internal", "Cannot read the server's answer: it has no task in it");
  return part;
}
