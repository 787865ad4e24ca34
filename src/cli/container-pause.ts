import {
  ContainerStateSchema,
  PauseContainerResponseSchema,
  ResumeContainerResponseSchema,
} from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { cell, stateCell } from "./cell.ts";
import { clientCommand } from "./client-command.ts";
import { containers, forEach } from "./each-container.ts";
import type { Record } from "./output.ts";
import { jsonOf } from "./proto-json.ts";
import { enumWord } from "./words.ts";

export const pauseCommand = clientCommand({
  name: "pause",
  summary: "freeze all processes of running containers",
  description: `A frozen container keeps its memory and takes no processor. No command can be run in it until it is resumed; its
logs can be read, and it can be stopped and removed.`,
  words: { containers },
  flags: {},
  callTimeoutMs: 60_000,
  examples: [{ about: "one", line: "baaaht container pause 0192f3a4" }],
  run: async ({ client, words, print }) =>
    await forEach({ client, words: words.containers }, async (containerId) => {
      const answer = await client.orchestrator.pauseContainer({ containerId });
      await print.record(stateRecord(answer, () => jsonOf(PauseContainerResponseSchema, answer)));
    }),
});

export const resumeCommand = clientCommand({
  name: "resume",
  summary: "let paused containers go on",
  words: { containers },
  flags: {},
  callTimeoutMs: 60_000,
  examples: [
    {
      about: "all that are frozen",
      line: "baaaht container list -q --state paused | xargs baaaht container resume",
    },
  ],
  run: async ({ client, words, print }) =>
    await forEach({ client, words: words.containers }, async (containerId) => {
      const answer = await client.orchestrator.resumeContainer({ containerId });
      await print.record(stateRecord(answer, () => jsonOf(ResumeContainerResponseSchema, answer)));
    }),
});

function stateRecord(
  { containerId, state }: { readonly containerId: string; readonly state: number },
  value: Record["value"],
): Record {
  return {
    id: containerId,
    value,
    rows: () => [
      ["ID", cell(containerId)],
      ["State", stateCell(enumWord(ContainerStateSchema, state))],
    ],
  };
}
