import { Failure } from "../failure.ts";
import { RejectContainerResponseSchema } from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { cell } from "./cell.ts";
import { clientCommand } from "./client-command.ts";
import { containerRecord } from "./container-view.ts";
import { containers, forEach } from "./each-container.ts";
import { text } from "./flag.ts";
import { jsonOf } from "./proto-json.ts";

export const approveCommand = clientCommand({
  name: "approve",
  summary: "let containers that wait for approval be made and started",
  description: "What their session allows now is what counts; one that it refuses goes on waiting.",
  words: { containers },
  flags: {},
  callTimeoutMs: 600_000, // an image may have to be fetched
  examples: [
    {
      about: "after a look at what it is",
      line: "baaaht container get 0192f3a4 && baaaht container approve 0192f3a4",
    },
    {
      about: "all that wait, in one session",
      line: "baaaht event watch --session build --type approval-requested -o jsonl | jq -r .metadata.containerId | xargs -n1 baaaht container approve",
    },
  ],
  run: async ({ client, words, print }) =>
    await forEach({ client, words: words.containers }, async (containerId) => {
      const { container } = await client.orchestrator.approveContainer({ containerId });
      if (container === undefined)
        throw new Failure("internal", "Cannot read the server's answer: it has no container in it");
      await print.record(containerRecord(container, print.times));
    }),
});

export const rejectCommand = clientCommand({
  name: "reject",
  summary: "remove containers that wait for approval",
  words: { containers },
  flags: { reason: text({ about: "why, for the log", short: "r" }) },
  examples: [
    { about: "with a reason", line: "baaaht container reject 0192f3a4 --reason 'no host paths, please'" },
  ],
  run: async ({ client, flags, words, print }) =>
    await forEach({ client, words: words.containers }, async (containerId) => {
      const rejected = await client.orchestrator.rejectContainer({ containerId, reason: flags.reason ?? "" });
      await print.record({
        id: rejected.containerId,
        value: () => jsonOf(RejectContainerResponseSchema, rejected),
        rows: () => [["Rejected", cell(rejected.containerId)]],
      });
    }),
});
