import { Failure } from "../failure.ts";
import {
  type PullImageProgress,
  PullImageProgressSchema,
} from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { bytesText } from "./bytes-text.ts";
import { cell, printable } from "./cell.ts";
import { clientCommand } from "./client-command.ts";
import { group, word } from "./command.ts";
import { Drawing } from "./drawing.ts";
import { EXIT_CODES } from "./exit-codes.ts";
import { findSessionId } from "./find-id.ts";
import { text } from "./flag.ts";
import { jsonOf } from "./proto-json.ts";
import type { Shell } from "./shell.ts";
import { stopOnSignals } from "./stop-on-signals.ts";

const pullCommand = clientCommand({
  name: "pull",
  summary: "have the engine fetch an image",
  description: `Shows how far it is when stderr is a terminal, and says what it has when it is done. Ctrl-C ends it, unless somebody
else waits for the same image. CreateContainer fetches a missing image by itself.`,
  words: { image: word({ about: "such as python:3.12, or name@sha256:…" }) },
  flags: {
    session: text({
      about: "the session that has to allow it",
      short: "s",
      placeholder: "SESSION",
      completes: "session",
    }),
  },
  callTimeoutMs: 0,
  examples: [
    { about: "before it is needed", line: "baaaht image pull python:3.12" },
    { about: "its digest alone", line: "baaaht image pull debian:12 -o json | jq -r .digest" },
  ],
  run: async ({ client, flags, words: { image }, shell, print }) => {
    const sessionId = flags.session === undefined ? "" : await findSessionId(client, flags.session);
    using stop = stopOnSignals(shell, flags.timeout);
    let last: PullImageProgress | undefined;
    try {
      await using steps = client.orchestrator.pullImage({ image, sessionId }, { signal: stop.signal });
      await using progress = progressOn(shell);
      for await (const step of steps) {
        progress?.take(step);
        last = step;
      }
    } catch (error) {
      const exitCode = await stop.ended();
      if (exitCode === undefined) throw error;
      return exitCode;
    }
    if (last === undefined || last.imageId === "")
      throw new Failure("internal", "Cannot read the server's answer: it does not say what was pulled");
    const { digest, imageId } = last;
    const pulled = last;
    await print.record({
      id: imageId,
      value: () => ({ image, ...Object(jsonOf(PullImageProgressSchema, pulled)) }),
      rows: () => [
        ["Image", cell(image)],
        ...(digest === "" ? [] : [["Digest", cell(digest)] as const]),
        ["Image id", cell(imageId)],
      ],
    });
    return EXIT_CODES.ok;
  },
});

export const imageGroup = group({
  name: "image",
  summary: "fetch images",
  commands: [pullCommand],
});

/** A line for each layer, drawn over itself; nothing where nobody looks. */
function progressOn({ err }: Shell): (AsyncDisposable & { take(step: PullImageProgress): void }) | undefined {
  if (!err.isTerminal) return undefined;
  const layers = new Map<string, string>();
  const drawing = new Drawing(err, () => [...layers.values()].map((line) => `${line}\n`).join(""));
  return {
    take: ({ layer, status, currentBytes, totalBytes }) => {
      if (layer === "") return;
      const total = totalBytes === 0n ? "" : ` of ${bytesText(Number(totalBytes))}`;
      const amount = currentBytes === 0n ? "" : ` ${bytesText(Number(currentBytes))}${total}`;
      layers.set(layer, printable(`${layer}: ${status}${amount}`));
      drawing.changed();
    },
    [Symbol.asyncDispose]: () => drawing[Symbol.asyncDispose](),
  };
}
