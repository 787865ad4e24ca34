import type { Client } from "../client/client.ts";
import { Failure } from "../failure.ts";
import {
  ContainerState,
  type ContainerStats,
  ContainerStatsSchema,
} from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { bytesText } from "./bytes-text.ts";
import { cell } from "./cell.ts";
import { clientCommand } from "./client-command.ts";
import { manyWords } from "./command.ts";
import { Drawing } from "./drawing.ts";
import { EXIT_CODES } from "./exit-codes.ts";
import { findContainerId, findSessionId } from "./find-id.ts";
import { duration, problem, text, toggle } from "./flag.ts";
import { nanoseconds } from "./limit-flags.ts";
import { type Format, serialised } from "./output.ts";
import { readPages } from "./pages.ts";
import { jsonOf } from "./proto-json.ts";
import type { Shell } from "./shell.ts";
import { type Stop, stopOnSignals } from "./stop-on-signals.ts";
import { type Column, type TableStyle, table } from "./table.ts";

/** Each has a connection of its own. */
const mostAtOnce = 64;

export const statsCommand = clientCommand({
  name: "stats",
  summary: "show what containers use: processor, memory, network, disk, processes",
  description: `Goes on until the containers have ended or Ctrl-C: on a terminal as a table that is drawn anew, otherwise as a line of
JSON for each reading. CPU is in percent of one core; memory is without what the kernel only keeps for speed. Without
CONTAINERS it is those that run when it begins, at most ${mostAtOnce}.`,
  words: {
    containers: manyWords({
      about: "containers: their ids, the beginnings of them, or their names (default: all that run)",
      completes: "container",
      optional: true,
    }),
  },
  flags: {
    session: text({
      about: "those of this session",
      short: "s",
      placeholder: "SESSION",
      completes: "session",
    }),
    interval: duration({ about: "how long between two readings (default 1s; at least 100ms)" }),
    noStream: toggle({ about: "one reading of each, then the end" }),
  },
  callTimeoutMs: 60_000,
  examples: [
    { about: "all that runs", line: "baaaht container stats" },
    { about: "once, of a session", line: "baaaht container stats --no-stream -s build" },
    {
      about: "memory every ten seconds",
      line: "baaaht container stats 0192f3a4 --interval 10s -o jsonl | jq .usage.memoryUsage",
    },
  ],
  run: async ({ client, flags, words, given, shell, print }) => {
    if (words.containers.length > 0 && flags.session !== undefined)
      throw problem("only one of CONTAINERS and --session can say what to measure");
    const watched = await watchedOf(client, { named: words.containers, session: flags.session });
    using stop = stopOnSignals(shell, flags.noStream ? undefined : flags.timeout);
    const measuring: Measuring = { client, watched, stop, intervalNs: nanoseconds(flags.interval) };
    try {
      if (flags.noStream) {
        const items = await once(measuring);
        await print.list({
          items,
          columns,
          id: ({ containerId }) => containerId,
          itemValue: jsonValue,
          value: () => items.map(jsonValue),
        });
      } else if (shell.out.isTerminal && flags.output === "table") {
        await live(measuring, { shell, style: print.style });
      } else {
        const format = flags.output === "table" && !given.has("output") ? "jsonl" : flags.output;
        await lines(measuring, { shell, format, style: print.style });
      }
    } catch (error) {
      if (stop.exitCode() === undefined) throw error;
    }
    return (await stop.ended()) ?? EXIT_CODES.ok;
  },
});

interface Watched {
  readonly ids: readonly string[];
  /** Whether each was named, so that it matters when one can't be measured. */
  readonly areNamed: boolean;
}

interface Measuring {
  readonly client: Client;
  readonly watched: Watched;
  readonly stop: Stop;
  readonly intervalNs: bigint;
}

async function watchedOf(
  client: Client,
  { named, session }: { readonly named: readonly string[]; readonly session: string | undefined },
): Promise<Watched> {
  if (named.length > 0) {
    if (named.length > mostAtOnce) throw tooMany(named.length);
    const ids: string[] = [];
    for (const one of named) ids.push(await findContainerId(client, one));
    return { ids: [...new Set(ids)], areNamed: true };
  }
  const sessionId = session === undefined ? "" : await findSessionId(client, session);
  const filter = { sessionId, state: ContainerState.RUNNING };
  const { items } = await readPages(undefined, async (request) => {
    const { containers, ...page } = await client.orchestrator.listContainers({ ...request, filter });
    return { ...page, items: containers };
  });
  if (items.length > mostAtOnce) throw tooMany(items.length);
  return { ids: items.map(({ id }) => id), areNamed: false };
}

function tooMany(count: number): Failure {
  return problem(
    `can measure ${mostAtOnce} containers at once, and these are ${count}; name some, or a --session`,
  );
}

/** Calls `take` with each reading of each container; resolves when all have ended. */
async function measure({ client, watched, stop, intervalNs }: Measuring, take: Taking): Promise<void> {
  const failed = new AbortController();
  const signal = AbortSignal.any([stop.signal, failed.signal]);
  const streams = watched.ids.map(async (containerId) => {
    try {
      await using readings = client.orchestrator.streamContainerStats(
        { containerId, intervalNs },
        { signal },
      );
      for await (const reading of readings) if ((await take.reading(reading)) === "enough") break;
      take.ended(containerId);
    } catch (error) {
      if (stop.signal.aborted) throw error; // the last readings stay where they are
      take.ended(containerId);
      const kind = Failure.from(error)?.kind;
      const hasEnded = kind === "failed_precondition" || kind === "not_found";
      if (hasEnded && !watched.areNamed) return;
      failed.abort();
      throw error;
    }
  });
  const outcomes = await Promise.allSettled(streams);
  const failure = outcomes.find((outcome) => outcome.status === "rejected");
  if (failure !== undefined) throw failure.reason;
}

interface Taking {
  readonly reading: (reading: ContainerStats) => Promise<"more" | "enough">;
  readonly ended: (containerId: string) => void;
}

async function once(measuring: Measuring): Promise<readonly ContainerStats[]> {
  const found = new Map<string, ContainerStats>();
  await measure(measuring, {
    reading: async (reading) => {
      found.set(reading.containerId, reading);
      return "enough";
    },
    ended: () => {},
  });
  return measuring.watched.ids.flatMap((id) => found.get(id) ?? []);
}

async function lines(
  measuring: Measuring,
  { shell, format, style }: { readonly shell: Shell; readonly format: Format; readonly style: TableStyle },
): Promise<void> {
  let headers = style.headers;
  await measure(measuring, {
    reading: async (reading) => {
      const separator = format === "yaml" ? "---\n" : "";
      const line =
        format === "table"
          ? table([reading], { columns, style: { ...style, headers } })
          : separator + (await serialised(jsonValue(reading), format));
      headers = false;
      await shell.out.write(line);
      return "more";
    },
    ended: () => {},
  });
}

/** A table that is drawn over itself. */
async function live(
  measuring: Measuring,
  { shell, style }: { readonly shell: Shell; readonly style: TableStyle },
): Promise<void> {
  const latest = new Map<string, ContainerStats>();
  await using drawing = new Drawing(shell.out, () => {
    const rows = measuring.watched.ids.flatMap((id) => latest.get(id) ?? []);
    return table(rows, { columns, style: { ...style, width: shell.out.size()?.columns } });
  });
  await measure(measuring, {
    reading: async (reading) => {
      latest.set(reading.containerId, reading);
      drawing.changed();
      return "more";
    },
    ended: (containerId) => {
      latest.delete(containerId);
      drawing.changed();
    },
  });
}

const columns: readonly Column<ContainerStats>[] = [
  { title: "ID", of: ({ containerId }) => cell(containerId), isId: true },
  { title: "CPU", of: ({ usage }) => cell(percent(usage?.cpuPercent)) },
  {
    title: "MEMORY",
    of: ({ usage }) => {
      const limit = usage?.memoryLimit ?? 0n;
      return cell(size(usage?.memoryUsage) + (limit === 0n ? "" : ` of ${size(limit)}`));
    },
  },
  { title: "MEMORY %", of: ({ usage }) => cell(percent(usage?.memoryPercent)) },
  { title: "NET IN/OUT", of: ({ usage }) => cell(`${size(usage?.networkRx)} / ${size(usage?.networkTx)}`) },
  {
    title: "DISK READ/WRITTEN",
    of: ({ usage }) => cell(`${size(usage?.blockRead)} / ${size(usage?.blockWrite)}`),
  },
  { title: "PROCESSES", of: ({ usage }) => cell(String(usage?.pidsCount ?? 0n)) },
];

function percent(value = 0): string {
  return `${value.toFixed(1)}%`;
}

function size(bytes = 0n): string {
  return bytesText(Number(bytes));
}

function jsonValue(reading: ContainerStats) {
  return jsonOf(ContainerStatsSchema, reading);
}
