import { timestampMs } from "@bufbuild/protobuf/wkt";
import { HealthSchema, StatusSchema } from "../gen/proto/common/v1/common_pb.ts";
import {
  HealthCheckResponseSchema,
  StatusResponseSchema,
} from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { cell, stateCell } from "./cell.ts";
import { clientCommand } from "./client-command.ts";
import { EXIT_CODES } from "./exit-codes.ts";
import { jsonOf } from "./proto-json.ts";
import { enumWord, spanText, timeCell } from "./words.ts";

export const statusCommand = clientCommand({
  name: "status",
  summary: "say what the server has in hand",
  words: {},
  flags: {},
  examples: [
    { about: "at a glance", line: "baaaht status" },
    { about: "how many sessions are open", line: "baaaht status -o json | jq .status.activeSessions" },
  ],
  run: async ({ client, print }) => {
    const [status, health] = await Promise.all([
      client.orchestrator.getStatus({}),
      client.orchestrator.healthCheck({}),
    ]);
    const uptimeMs = status.uptime === undefined ? 0 : timestampMs(status.uptime);
    await print.record({
      id: enumWord(StatusSchema, status.status),
      value: () => ({
        address: client.address,
        status: jsonOf(StatusResponseSchema, status),
        health: jsonOf(HealthCheckResponseSchema, health),
      }),
      rows: () => [
        ["Server", cell(client.address)],
        ["Status", stateCell(enumWord(StatusSchema, status.status))],
        ["Health", stateCell(enumWord(HealthSchema, health.health))],
        ["Version", cell(health.version)],
        ["Started", timeCell(status.startedAt, print.times)],
        ["Up for", cell(spanText(uptimeMs))],
        ["Sessions", cell(String(status.activeSessions))],
        ["Containers", cell(String(status.activeContainers))],
        ["Prepared", cell(String(status.preparedContainers))],
        ...health.subsystems.map(
          (part) => ["Part", cell(part, part.includes(":") ? "warning" : "plain")] as const,
        ),
      ],
    });
    return EXIT_CODES.ok;
  },
});
