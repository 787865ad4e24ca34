import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { type WatchOptions, watch } from "../client/watch.ts";
import { PrioritySchema } from "../gen/proto/common/v1/common_pb.ts";
import { EventType, EventTypeSchema } from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { clientCommand } from "./client-command.ts";
import { group } from "./command.ts";
import { eventEntry } from "./event-view.ts";
import { EXIT_CODES } from "./exit-codes.ts";
import { findAgentId, findContainerId, findSessionId, findTaskId } from "./find-id.ts";
import { choice, duration, instant, int, pairs, problem, someOf, text, toggle } from "./flag.ts";
import { type Format, serialised } from "./output.ts";
import type { Shell } from "./shell.ts";
import { stopOnSignals } from "./stop-on-signals.ts";
import { enumNumber, enumWords } from "./words.ts";

const watchEvents = clientCommand({
  name: "watch",
  summary: "follow the log of all that happens",
  description: `Prints an event a line, from now on unless --since, --after or --from-start say otherwise, and goes on
over lost connections. When it is stopped it says on stderr behind which cursor to go on.`,
  words: {},
  flags: {
    type: someOf({
      about: "of this type",
      choices: enumWords(EventTypeSchema).filter((word) => word !== "bookmark"),
      placeholder: "TYPE",
    }),
    session: text({ about: "about this session", placeholder: "SESSION", completes: "session" }),
    container: text({ about: "about this container", placeholder: "CONTAINER", completes: "container" }),
    task: text({ about: "about this task", placeholder: "TASK", completes: "task" }),
    agent: text({ about: "about this agent", placeholder: "AGENT", completes: "agent" }),
    source: text({ about: "from this part, such as orchestrator.grpc or containers" }),
    priority: choice({
      about: "of this priority",
      choices: enumWords(PrioritySchema),
      placeholder: "PRIORITY",
    }),
    label: pairs({ about: "of sessions with this label", short: "l" }),
    since: instant({ about: "from this time on: how long ago (10m), or a time (2026-01-31T12:00:00Z)" }),
    until: instant({ about: "up to this time; then it ends" }),
    after: text({ about: "behind this cursor", placeholder: "CURSOR" }),
    fromStart: toggle({ about: "from the oldest event that the log has" }),
    count: int({ about: "end after so many events", min: 1 }),
    bookmarks: duration({ about: "tell the cursor after so long without an event" }),
  },
  callTimeoutMs: 0,
  examples: [
    { about: "everything from now on", line: "baaaht event watch" },
    {
      about: "the story of a session so far and from now on",
      line: "baaaht event watch --session build --from-start",
    },
    { about: "go on where the last one stopped", line: 'baaaht event watch -o jsonl --after "$cursor"' },
    {
      about: "wait until a container has stopped",
      line: "baaaht event watch --type container-stopped --container 0192f3a4 --count 1",
    },
  ],
  run: async ({ client, flags, shell, print }) => {
    const starts = [flags.since, flags.after, flags.fromStart || undefined].filter(
      (one) => one !== undefined,
    );
    if (starts.length > 1)
      throw problem("only one of --since, --after and --from-start can say where to begin");
    using stop = stopOnSignals(shell, flags.timeout);
    const filter = {
      types: flags.type.map((type) => enumNumber(EventTypeSchema, type)),
      sessionId: flags.session === undefined ? "" : await findSessionId(client, flags.session),
      containerId: flags.container === undefined ? "" : await findContainerId(client, flags.container),
      taskId: flags.task === undefined ? "" : await findTaskId(client, flags.task),
      agentId: flags.agent === undefined ? "" : await findAgentId(client, flags.agent),
      source: flags.source ?? "",
      priority: enumNumber(PrioritySchema, flags.priority),
      labels: flags.label,
      ...(flags.since && { startTime: timestampFromDate(flags.since) }),
      ...(flags.until && { endTime: timestampFromDate(flags.until) }),
    };
    let cursor = flags.after ?? "";
    let count = 0;
    let exitCode: number | undefined;
    try {
      const events = watch(client, {
        filter,
        resumeAfter: cursor,
        fromStart: flags.fromStart,
        ...(flags.bookmarks === undefined ? {} : { bookmarkIntervalMs: flags.bookmarks }),
        signal: stop.signal,
        ...connectionTeller(shell),
      });
      for await (const event of events) {
        await print.entry(eventEntry(event, print.style));
        if (event.cursor !== "") cursor = event.cursor;
        if (event.type !== EventType.BOOKMARK) count += 1;
        if (count === flags.count) break;
      }
    } catch (error) {
      exitCode = await stop.ended();
      if (count > 0 || exitCode !== undefined) await tellCursor(shell, { cursor, format: flags.output });
      if (exitCode === undefined) throw error;
    }
    return exitCode ?? EXIT_CODES.ok;
  },
});

export const eventGroup = group({
  name: "event",
  summary: "follow the log of all that happens",
  commands: [watchEvents],
});

/** Where to go on, in the format that errors have. */
async function tellCursor(
  shell: Shell,
  { cursor, format }: { readonly cursor: string; readonly format: Format },
): Promise<void> {
  if (cursor === "") return;
  const text =
    format === "table" ? `go on with --after ${cursor}\n` : await serialised({ resumeAfter: cursor }, format);
  await shell.err.write(text).catch(() => undefined);
}

/** Says when the watch is interrupted, and when it goes on: a line each, however many attempts lie between. */
function connectionTeller(shell: Shell): Pick<WatchOptions, "onInterrupted" | "onStarted"> {
  let isLost = false;
  return {
    onInterrupted: ({ message }) => {
      if (!isLost) void tell(shell, `${message}; trying again until it is back`);
      isLost = true;
    },
    onStarted: (how) => {
      const words = how === "begun" ? "The watch has begun" : "The watch goes on where it was interrupted";
      if (isLost) void tell(shell, words);
      isLost = false;
    },
  };
}

/** A word beside the output, for whoever watches. Nobody there to read is nothing to tell. */
async function tell(shell: Shell, text: string): Promise<void> {
  await shell.err.write(`${text}\n`).catch(() => undefined);
}
