import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Client } from "../client/client.ts";
import { Failure } from "../failure.ts";
import type { Exec, ExecStartSchema } from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";

/** Starts a command that nobody types into, leaves it, and gives it as it is then. */
export async function startDetached(
  client: Client,
  start: Omit<MessageInitShape<typeof ExecStartSchema>, "$typeName">,
): Promise<Exec> {
  const value = { ...start, detachOnDisconnect: true };
  await using answers = client.orchestrator.execContainer(
    (async function* () {
      yield { payload: { case: "start" as const, value } };
    })(),
  );
  for await (const { payload } of answers) {
    if (payload.case !== "started") continue;
    const { exec } = await client.orchestrator.getExec({ execId: payload.value.execId });
    if (exec !== undefined) return exec;
  }
  throw new Failure("internal", "Cannot tell which command was started: the server did not say it");
}
