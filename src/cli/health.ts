import { UNREACHABLE } from "../client/unreachable.ts";
import { Failure } from "../failure.ts";
import {
  HealthCheckResponse_ServingStatus,
  HealthCheckResponse_ServingStatusSchema,
  HealthCheckResponseSchema,
} from "../gen/grpc/health/v1/health_pb.ts";
import { cell, stateCell } from "./cell.ts";
import { clientCommand } from "./client-command.ts";
import { exitCodeOf, HEALTH_EXIT_CODES, isUsageFailure, SIGNAL_EXIT_CODES } from "./exit-codes.ts";
import { text } from "./flag.ts";
import { jsonOf } from "./proto-json.ts";
import { enumWord } from "./words.ts";

export const healthCommand = clientCommand({
  name: "health",
  summary: "ask whether the server serves, for probes",
  description:
    "Ends as grpc-health-probe does: 0 serving, 1 wrong usage, 2 no connection, 3 the call failed, 4 not serving.",
  words: {},
  flags: {
    service: text({
      about:
        'what to ask about, such as "orchestrator" or "proto.orchestrator.v1.containers" (default: the server as a whole)',
      placeholder: "NAME",
    }),
  },
  failureCode: probeCodeOf,
  examples: [
    { about: "in a container's health check", line: "baaaht health --timeout 2s" },
    {
      about: "whether containers can be had",
      line: "baaaht health --service proto.orchestrator.v1.containers",
    },
  ],
  run: async ({ client, flags, print }) => {
    const service = flags.service ?? "";
    const answer = await client.health.check({ service });
    const status = enumWord(HealthCheckResponse_ServingStatusSchema, answer.status);
    await print.record({
      id: status,
      value: () => jsonOf(HealthCheckResponseSchema, answer),
      rows: () => [
        ...(service === "" ? [] : [["Service", cell(service)] as const]),
        ["Status", stateCell(status)],
      ],
    });
    const serves = answer.status === HealthCheckResponse_ServingStatus.SERVING;
    return serves ? HEALTH_EXIT_CODES.serving : HEALTH_EXIT_CODES.notServing;
  },
});

function probeCodeOf(error: unknown): number {
  const failure = Failure.from(error);
  if (failure !== undefined && isUsageFailure(failure)) return HEALTH_EXIT_CODES.usage;
  if (failure?.details.reason === UNREACHABLE) return HEALTH_EXIT_CODES.cannotConnect;
  const code = exitCodeOf(error);
  return code === SIGNAL_EXIT_CODES.SIGPIPE ? code : HEALTH_EXIT_CODES.callFailed;
}
