// What the client library of this repository makes of the main job: a session, a container, a command in it with input
// and output, a pause, what it uses, and a watch that resumes by itself. Another program may as well generate a client from proto/.
//
//   bun examples/typescript/example.ts /tmp/baaaht-grpc.sock python:3.12

import { type MessageInitShape, toJsonString } from "@bufbuild/protobuf";
import { connect } from "../../src/client/client.ts";
import { watch } from "../../src/client/watch.ts";
import { Failure } from "../../src/failure.ts";
import {
  EventType,
  EventTypeSchema,
  type ExecContainerRequestSchema,
  ExecEndSchema,
} from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";

const [socket = "/tmp/baaaht-grpc.sock", image = "python:3.12"] = process.argv.slice(2);
await using client = connect({ address: `unix://${socket}` });
const { orchestrator } = client;

const { sessionId } = await orchestrator.createSession({ metadata: { name: "my-session" } });
const { containerId } = await orchestrator.createContainer({
  sessionId,
  config: { image, command: ["sleep"], args: ["300"], env: { GREETING: "hello" } },
});

await using output = orchestrator.execContainer(frames("from typescript\n"));
for await (const { payload } of output) {
  if (payload.case === "stdout") process.stdout.write(payload.value);
  if (payload.case === "end") show("ended:", toJsonString(ExecEndSchema, payload.value));
}

await orchestrator.pauseContainer({ containerId });
await orchestrator.resumeContainer({ containerId });
await using readings = orchestrator.streamContainerStats({ containerId, intervalNs: 1_000_000_000n });
for await (const { usage } of readings) {
  show("processes:", String(usage?.pidsCount));
  break; // ends the stream
}

try {
  await orchestrator.getSession({ sessionId: "nobody" });
} catch (error) {
  if (!(error instanceof Failure)) throw error;
  show("error:", error.kind, error.message);
}

await orchestrator.closeSession({ sessionId, reason: "the example is over" });
for await (const event of watch(client, { filter: { sessionId }, fromStart: true })) {
  show(EventTypeSchema.value[event.type]?.name, JSON.stringify(event.data));
  if (event.type === EventType.SESSION_CLOSED) break;
}

async function* frames(input: string): AsyncGenerator<MessageInitShape<typeof ExecContainerRequestSchema>> {
  const command = ["sh", "-c", 'echo "$GREETING"; tr a-z A-Z; exit 3'];
  yield { payload: { case: "start", value: { containerId, command, stdin: true } } };
  yield { payload: { case: "stdin", value: new TextEncoder().encode(input) } };
  // The end of the frames ends stdin, not the command.
}

function show(...words: readonly (string | undefined)[]): void {
  process.stdout.write(`${words.join(" ")}\n`);
}
