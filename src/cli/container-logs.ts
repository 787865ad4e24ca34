import { timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  type ContainerLogChunk,
  ContainerLogChunkSchema,
  LogStream,
} from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { clientCommand } from "./client-command.ts";
import { word } from "./command.ts";
import { EXIT_CODES } from "./exit-codes.ts";
import { findContainerId } from "./find-id.ts";
import { instant, int, toggle } from "./flag.ts";
import { serialised } from "./output.ts";
import { jsonOf } from "./proto-json.ts";
import { stopOnSignals } from "./stop-on-signals.ts";

export const logsCommand = clientCommand({
  name: "logs",
  summary: "print what a container wrote",
  description:
    "Its stdout comes on stdout and its stderr on stderr, byte for byte; other formats than table say which is which.",
  words: {
    container: word({
      about: "the container: its id, the beginning of it, or its name",
      completes: "container",
    }),
  },
  flags: {
    follow: toggle({ about: "go on with what it will write, until it has stopped", short: "f" }),
    tail: int({ about: "only the last lines (default all)", short: "n" }),
    since: instant({ about: "from this time on: how long ago (10m), or a time (2026-01-31T12:00:00Z)" }),
    until: instant({ about: "up to this time" }),
    timestamps: toggle({ about: "put the time in front of each piece", short: "t" }),
    stdout: toggle({ about: "stdout alone" }),
    stderr: toggle({ about: "stderr alone" }),
  },
  callTimeoutMs: 0,
  examples: [
    {
      about: "the last hundred lines and what follows",
      line: "baaaht container logs 0192f3a4 --tail 100 --follow",
    },
    { about: "the errors of the last hour", line: "baaaht container logs 0192f3a4 --stderr --since 1h" },
  ],
  run: async ({ client, flags, words, shell }) => {
    const containerId = await findContainerId(client, words.container);
    using stop = stopOnSignals(shell, flags.timeout);
    await using chunks = client.orchestrator.streamContainerLogs(
      {
        containerId,
        follow: flags.follow,
        timestamps: flags.timestamps,
        stdout: flags.stdout,
        stderr: flags.stderr,
        ...(flags.tail === undefined ? {} : { tail: flags.tail }),
        ...(flags.since && { since: timestampFromDate(flags.since) }),
        ...(flags.until && { until: timestampFromDate(flags.until) }),
      },
      { signal: stop.signal },
    );
    try {
      for await (const chunk of chunks) {
        const output = flags.output === "table" && chunk.stream === LogStream.STDERR ? shell.err : shell.out;
        await output.write(
          flags.output === "table" ? plain(chunk) : await serialised(value(chunk), flags.output),
        );
      }
    } catch (error) {
      if (stop.exitCode() === undefined) throw error;
    }
    return (await stop.ended()) ?? EXIT_CODES.ok;
  },
});

function plain({ data, timestamp }: ContainerLogChunk): Uint8Array {
  if (timestamp === undefined) return data;
  return Buffer.concat([Buffer.from(`${timestampDate(timestamp).toISOString()} `), data]);
}

/** Bytes are text for most readers; what is not UTF-8 stays exact in `data`, which is base64. */
function value(chunk: ContainerLogChunk) {
  const json = jsonOf(ContainerLogChunkSchema, chunk);
  const isObject = typeof json === "object" && json !== null && !Array.isArray(json);
  return isObject ? { ...json, text: new TextDecoder().decode(chunk.data) } : json;
}
