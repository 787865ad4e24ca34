import { hostname } from "node:os";
import { PullPolicySchema } from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { version } from "../version.ts";
import { inContainers } from "../worker/container/do-task.ts";
import { DEFAULT_TABLE, tableWith } from "../worker/container/table.ts";
import { runWorker, type WorkerNews } from "../worker/worker.ts";
import { printable } from "./cell.ts";
import { clientCommand } from "./client-command.ts";
import { EXIT_CODES } from "./exit-codes.ts";
import { choice, duration, int, pairs, someOf, text, toggle, withDefault } from "./flag.ts";
import { stopTwice } from "./stop-twice.ts";
import { enumNumber } from "./words.ts";

/** The types of tasks that are done in containers. */
const TASKS = [
  "code-execution",
  "file-operation",
  "data-processing",
  "container-operation",
  "tool-execution",
] as const;

export const runAgent = clientCommand({
  name: "run",
  summary: "be a worker: take tasks, and do them in containers",
  description: `Registers, and does what the server hands it until SIGTERM or Ctrl-C; then it takes nothing more, lets its tasks end,
and signs off. A second signal gives its tasks back at once, a third ends it. Comes back by itself after a lost connection.
What tasks may say, and the table of languages, tools and images: docs/workers.md. What happens is written to stderr.`,
  words: {},
  flags: {
    name: text({ about: "a name for people (default: worker on and the host)", short: "n" }),
    label: pairs({ about: "a label", short: "l" }),
    task: someOf({ about: "a type of tasks to take (default: all)", choices: TASKS, placeholder: "TYPE" }),
    maxTasks: withDefault(int({ about: "tasks at one time", min: 1, max: 1_000 }), "4"),
    language: pairs({ about: "what a language is run with", placeholder: "NAME=IMAGE[ COMMAND]" }),
    tool: pairs({ about: "what a tool is run with", placeholder: "NAME=IMAGE[ COMMAND]" }),
    image: text({ about: "the image for commands that are no language's" }),
    pull: withDefault(
      choice({ about: "when images are fetched", choices: ["missing", "never", "always"] }),
      "missing",
    ),
    allowNetwork: toggle({ about: "let tasks without a session have a network if they ask for one" }),
    drainTimeout: withDefault(
      duration({ about: "how long its tasks may go on when it is told to stop" }),
      "30s",
    ),
    untilEof: toggle({ about: "stop when stdin ends, too, so that whoever has started it takes it along" }),
  },
  examples: [
    { about: "with all defaults", line: "baaaht agent run" },
    {
      about: "for programs in Python alone, in an image of your own",
      line: "baaaht agent run --task code-execution --language python=python:3.13",
    },
    {
      about: "with another tool",
      line: "baaaht agent run --tool 'jq=ghcr.io/jqlang/jq:1.7.1 jq'",
    },
  ],
  run: async ({ client, flags, shell }) => {
    const { maxTasks, label, drainTimeout } = flags;
    const table = tableWith(DEFAULT_TABLE, {
      languages: flags.language,
      tools: flags.tool,
      image: flags.image,
    });
    const tasks = flags.task.length > 0 ? flags.task : TASKS;
    using stop = stopTwice(shell, flags);
    await runWorker({
      client,
      name: flags.name ?? `worker on ${hostname()}`,
      version,
      labels: label,
      capabilities: { tasks, tools: Object.keys(table.tools), maxConcurrentTasks: maxTasks },
      run: inContainers({
        client,
        table,
        pull: enumNumber(PullPolicySchema, flags.pull),
        allowNetwork: flags.allowNetwork,
      }),
      signal: stop.signal,
      hurry: stop.hurry,
      drainMs: drainTimeout,
      onNews: (news) => void shell.err.write(`${printable(wordsOf(news))}\n`).catch(() => undefined),
    });
    return EXIT_CODES.ok;
  },
});

function wordsOf(news: WorkerNews): string {
  switch (news.what) {
    case "registered":
      return `Registered as agent ${news.agentId}`;
    case "ready":
      return `Ready for tasks as agent ${news.agentId}`;
    case "interrupted":
      return `Interrupted: ${news.why}; again in ${news.againInMs} ms`;
    case "task_begun":
      return `Task ${news.taskId}: begun`;
    case "task_over":
      return `Task ${news.taskId}: ${endOf(news)}`;
    case "paused":
      return `Paused: taking no further tasks${news.tasks.length === 0 ? "" : `, going on with ${news.tasks.join(", ")}`}`;
    case "resumed":
      return "Resumed: taking tasks";
    case "draining":
      return `Stopping when these tasks have ended: ${news.tasks.join(", ")}`;
  }
}

function endOf({ report }: Extract<WorkerNews, { readonly what: "task_over" }>): string {
  switch (report.how) {
    case "completed":
      return `completed with exit code ${report.exitCode}`;
    case "failed":
      return `failed with ${report.code}: ${report.message}`;
    case "ended":
      return `ended (${report.by.how}): ${report.by.message}`;
  }
}
