import type { Client } from "../client/client.ts";
import { Failure } from "../failure.ts";
import {
  ContainerSchema,
  ContainerState,
  ContainerStateSchema,
  ListContainersResponseSchema,
  RemoveContainerResponseSchema,
  StopContainerResponseSchema,
  WaitContainerResponseSchema,
} from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { cell, stateCell } from "./cell.ts";
import { clientCommand } from "./client-command.ts";
import { commandWords, group, word } from "./command.ts";
import { approveCommand, rejectCommand } from "./container-approval.ts";
import { cpCommand } from "./container-cp.ts";
import { execCommand } from "./container-exec.ts";
import {
  containerConfigOf,
  containerFlags,
  lastingConfigOf,
  lastingFlags,
  pullPolicyOf,
} from "./container-flags.ts";
import { logsCommand } from "./container-logs.ts";
import { pauseCommand, resumeCommand } from "./container-pause.ts";
import { statsCommand } from "./container-stats.ts";
import { containerColumns, containerRecord, exitCell } from "./container-view.ts";
import { containers, forEach } from "./each-container.ts";
import { EXIT_CODES } from "./exit-codes.ts";
import { findContainerId, findSessionId } from "./find-id.ts";
import { choice, duration, int, pairs, requiredText, text, toggle } from "./flag.ts";
import { nanoseconds } from "./limit-flags.ts";
import type { Printer } from "./output.ts";
import { readPages } from "./pages.ts";
import { jsonOf } from "./proto-json.ts";
import { enumNumber, enumWord, enumWords, timeCell } from "./words.ts";

const container = word({
  about: "the container: its id, the beginning of it, or its name",
  completes: "container",
});
const createContainer = clientCommand({
  name: "create",
  summary: "create and start a container in a session",
  description: `COMMAND takes the place of the image's entrypoint; without it the image's own command runs.
Flags of COMMAND stand behind its first word, or behind --.`,
  words: {
    image: word({ about: "the image to make it of" }),
    command: commandWords({ about: "what to run in it", optional: true }),
  },
  flags: {
    session: requiredText({
      about: "the session that it belongs to",
      short: "s",
      placeholder: "SESSION",
      completes: "session",
    }),
    ...containerFlags,
    ...lastingFlags,
    idempotencyKey: text({ about: "makes a repetition harmless", placeholder: "KEY" }),
  },
  callTimeoutMs: 600_000, // an image may have to be fetched
  examples: [
    {
      about: "one that waits for execs",
      line: "baaaht container create --session build debian:12 sleep infinity",
    },
    {
      about: "with half a core and 256 MiB",
      line: "baaaht container create -s build --cpus 0.5 --memory 256m python:3.12 python -u job.py",
    },
    {
      about: "a database with a volume and a name, and what uses it",
      line: "baaaht container create -s build --name db -v data:/var/lib/db --restart on-failure:3 db:1",
    },
    {
      about: "with a folder of the host, a port of it, and nothing else that can be written",
      line: "baaaht container create -s build -v ./site:/site:ro -p 8080:80 --tmpfs /tmp --read-only web:1",
    },
    { about: "its id alone", line: "id=$(baaaht container create -q -s build debian:12 -- sh -c 'exit 3')" },
  ],
  run: async ({ client, flags, words, print }) => {
    const config = lastingConfigOf(containerConfigOf({ flags, ...words }), flags);
    const sessionId = await findSessionId(client, flags.session);
    const created = await client.orchestrator.createContainer({
      sessionId,
      config,
      pull: pullPolicyOf(flags),
      idempotencyKey: flags.idempotencyKey ?? "",
    });
    await print.record(containerRecord(required(created.container), print.times));
    return EXIT_CODES.ok;
  },
});

const listContainers = clientCommand({
  name: "list",
  summary: "list containers, newest first",
  words: {},
  flags: {
    session: text({ about: "of this session", short: "s", placeholder: "SESSION", completes: "session" }),
    state: choice({ about: "in this state", choices: enumWords(ContainerStateSchema), placeholder: "STATE" }),
    label: pairs({ about: "with this label", short: "l" }),
    limit: int({ about: "how many at most (default all)", min: 1 }),
  },
  examples: [
    { about: "what runs", line: "baaaht container list --state running" },
    {
      about: "the containers of a session as lines of JSON",
      line: "baaaht container list -s build -o jsonl",
    },
  ],
  run: async ({ client, flags, print }) => {
    const filter = {
      sessionId: flags.session === undefined ? "" : await findSessionId(client, flags.session),
      state: enumNumber(ContainerStateSchema, flags.state),
      labels: flags.label,
    };
    const { items, ...rest } = await readPages(flags.limit, async (request) => {
      const { containers: found, ...page } = await client.orchestrator.listContainers({ ...request, filter });
      return { ...page, items: found };
    });
    await print.list({
      items,
      columns: containerColumns(print.times),
      id: ({ id }) => id,
      itemValue: (one) => jsonOf(ContainerSchema, one),
      value: () => jsonOf(ListContainersResponseSchema, { ...rest, containers: [...items] }),
    });
    return EXIT_CODES.ok;
  },
});

const getContainer = clientCommand({
  name: "get",
  summary: "show a container as the engine has it",
  words: { container },
  flags: {},
  examples: [{ about: "its exit code", line: "baaaht container get 0192f3a4 -o json | jq .exitCode" }],
  run: async ({ client, words, print }) => {
    const containerId = await findContainerId(client, words.container);
    const got = await client.orchestrator.getContainer({ containerId });
    await print.record(containerRecord(required(got.container), print.times));
    return EXIT_CODES.ok;
  },
});

const stopContainer = clientCommand({
  name: "stop",
  summary: "stop containers: SIGTERM, and SIGKILL after a while",
  words: { containers },
  flags: {
    grace: duration({ about: "how long after SIGTERM it is killed (default as the server has it, 10s)" }),
  },
  callTimeoutMs: 60_000,
  examples: [
    {
      about: "with a minute to end by itself",
      line: "baaaht container stop 0192f3a4 --grace 1m --timeout 90s",
    },
  ],
  run: async ({ client, flags, words, print }) =>
    await forEach({ client, words: words.containers }, async (containerId) => {
      // 0 on the wire is the server's default, so that the shortest grace is a nanosecond.
      const timeoutNs = flags.grace === 0 ? 1n : nanoseconds(flags.grace);
      const stopped = await client.orchestrator.stopContainer({ containerId, timeoutNs });
      await print.record({
        id: stopped.containerId,
        value: () => jsonOf(StopContainerResponseSchema, stopped),
        rows: () => [
          ["ID", cell(stopped.containerId)],
          ["State", stateCell(enumWord(ContainerStateSchema, stopped.state))],
        ],
      });
    }),
});

const removeContainer = clientCommand({
  name: "remove",
  summary: "remove containers with all that was written in them",
  words: { containers },
  flags: {
    force: toggle({ about: "also when it runs: it is killed", short: "f" }),
    abandon: toggle({
      about: "also when the engine can't remove it now: it is forgotten, and removed later",
    }),
  },
  callTimeoutMs: 60_000,
  examples: [
    { about: "one that has stopped", line: "baaaht container remove 0192f3a4" },
    {
      about: "all of a session",
      line: "baaaht container list -q -s build | xargs baaaht container remove --force",
    },
  ],
  run: async ({ client, flags, words, print }) =>
    await forEach({ client, words: words.containers }, async (containerId) => {
      const { force, abandon } = flags;
      const removed = await client.orchestrator.removeContainer({ containerId, force, abandon });
      await print.record({
        id: removed.containerId,
        value: () => jsonOf(RemoveContainerResponseSchema, removed),
        rows: () => [["Removed", cell(removed.containerId)]],
      });
    }),
});

const waitContainer = clientCommand({
  name: "wait",
  summary: "wait until a container is not running any more",
  description: "Ends with 0 when it has stopped, whatever its exit code; --exit-code ends with that.",
  words: { container },
  flags: { exitCode: toggle({ about: "end with the container's exit code" }) },
  callTimeoutMs: 0,
  examples: [
    { about: "and say how it ended", line: "baaaht container wait 0192f3a4" },
    {
      about: "at most a minute, in a script",
      line: "baaaht container wait 0192f3a4 --timeout 1m --exit-code",
    },
  ],
  run: async ({ client, flags, words, print }) => {
    const containerId = await findContainerId(client, words.container);
    const ended = await client.orchestrator.waitContainer(
      { containerId },
      flags.timeout === undefined ? {} : { timeoutMs: flags.timeout },
    );
    await printEnd(print, ended);
    return flags.exitCode && ended.state === ContainerState.EXITED ? ended.exitCode : EXIT_CODES.ok;
  },
});

export const containerGroup = group({
  name: "container",
  summary: "create containers, run commands in them, read their logs",
  commands: [
    createContainer,
    listContainers,
    getContainer,
    execCommand,
    cpCommand,
    approveCommand,
    rejectCommand,
    logsCommand,
    statsCommand,
    waitContainer,
    pauseCommand,
    resumeCommand,
    stopContainer,
    removeContainer,
  ],
});

async function printEnd(
  print: Printer,
  ended: Awaited<ReturnType<Client["orchestrator"]["waitContainer"]>>,
): Promise<void> {
  await print.record({
    id: ended.containerId,
    value: () => jsonOf(WaitContainerResponseSchema, ended),
    rows: () => [
      ["ID", cell(ended.containerId)],
      ["State", stateCell(enumWord(ContainerStateSchema, ended.state))],
      ["Exit code", exitCell(ended)],
      ["Exited", timeCell(ended.exitedAt, print.times)],
      ...(ended.stateReason === "" ? [] : [["Why", cell(ended.stateReason)] as const]),
    ],
  });
}

function required<T>(part: T | undefined): T {
  if (part === undefined)
    throw new Failure("internal", "Cannot read the server's answer: it has no container in it");
  return part;
}
