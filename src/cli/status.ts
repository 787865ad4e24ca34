import { timestampMs } from "@bufbuild/protobuf/wkt";
import { AgentStatusResponseSchema } from "../gen/proto/agent/v1/agent_pb.ts";
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
    const [status, health, agents] = await Promise.all([
      client.orchestrator.getStatus({}),
      client.orchestrator.healthCheck({}),
      client.agent.getStatus({}),
    ]);
    const uptimeMs = status.uptime === undefined ? 0 : timestampMs(status.uptime);
    await print.record({
      id: enumWord(StatusSchema, status.status),
      value: () => ({
        address: client.address,
        status: jsonOf(StatusResponseSchema, status),
        health: jsonOf(HealthCheckResponseSchema, health),
        agents: jsonOf(AgentStatusResponseSchema, agents),
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
        ["Agents", cell(`${agents.liveAgents}, ${agents.openLines} of them with a line open`)],
        ...health.subsystems.map(
          (part) => ["Part", cell(part, part.includes(":") ? "warning" : "plain")] as const,
        ),
      ],
    });
    return EXIT_CODES.ok;
  },
});
