import type { AgentId } from "../agents/agent.ts";
import { type AgentMessage, orchestrator } from "../agents/agent-message.ts";
import type { LineInput, Lines } from "../agents/lines.ts";
import type { LineOutput } from "../agents/outbox.ts";
import type { Passing } from "../agents/passing.ts";
import { invalid } from "../failure.ts";
import type { AgentService, StreamAgentRequest } from "../gen/proto/agent/v1/agent_pb.ts";
import type { Task } from "../tasks/task.ts";
import type { TaskAgents } from "../tasks/task-agents.ts";
import type { Tasks } from "../tasks/tasks.ts";
import { type Beats, beatHeaders, presentedToken } from "./agent-headers.ts";
import { askedBy } from "./asked-by.ts";
import type { Handlers } from "./handlers.ts";
import { checkedKey } from "./session-calls.ts";
import { agentMessageOf, toWireAgentMessage } from "./wire-agent-message.ts";
import { toWireTask } from "./wire-task.ts";
import { requiredId, timestamp } from "./wire-values.ts";

export interface LineCallParts extends Beats {
  readonly lines: Lines;
  readonly passing: Passing;
  /** The longest idempotency key, in UTF-16 units. */
  readonly maxKeyLength: number;
  /** What becomes of its tasks hears of an agent. */
  readonly taskAgents: TaskAgents;
  readonly tasks: Tasks;
}

/** AgentService's calls that bring messages to agents. */
export function lineCalls(parts: LineCallParts): Handlers<typeof AgentService> {
  const { lines, passing, taskAgents, tasks } = parts;
  const beats = beatHeaders(parts);
  return {
    sendMessage: async (request, call) => {
      const id = requiredId<AgentId>(request.agentId, "agent_id");
      const sending = {
        draft: agentMessageOf(request.message),
        idempotencyKey: checkedKey(request.idempotencyKey, parts.maxKeyLength),
        token: presentedToken(call),
      };
      const passed = await passing.send(id, sending, askedBy(call));
      return { messageId: passed.id, timestamp: timestamp(passed.at) };
    },

    streamAgent: async function* (requests, call) {
      const frames = requests[Symbol.asyncIterator]();
      const first = await frames.next();
      const id = requiredId<AgentId>(first.done ? "" : first.value.agentId, "agent_id");
      const input = inputsOf(id, {
        first: first.value,
        rest: { [Symbol.asyncIterator]: () => frames },
      });
      const serving = {
        input,
        token: presentedToken(call),
        call: askedBy(call),
        opened: () => {
          taskAgents.heardFrom(id, call.caller.process?.pid);
          call.open(beats);
        },
      };
      for await (const output of lines.serve(id, serving)) {
        const task = output.kind === "message" ? requestedTask(output.message, taskAgents) : undefined;
        yield toWireOutput(output, task && toWireTask(tasks.viewOf(task)));
      }
    },
  };
}

/** The largest config, as JSON, that goes along with the message that tells of its task; UTF-16 units. */
const mostConfig = 16_384;

/** The task that a message of the server's tells an agent of, unless it is large. */
function requestedTask(
  { type, sourceId, targetId, payload }: AgentMessage,
  taskAgents: TaskAgents,
): Task | undefined {
  if (type !== "task_request" || sourceId !== orchestrator || payload.kind !== "task") return undefined;
  const task = taskAgents.held(targetId, payload.taskId);
  if (task === undefined || task.config.inputDataBytes > 0) return undefined;
  return JSON.stringify(task.config).length > mostConfig ? undefined : task;
}

/** What the frames of a line say; the first one may say nothing but whose line it is. */
async function* inputsOf(
  id: AgentId,
  frames: {
    readonly first: StreamAgentRequest | undefined;
    readonly rest: AsyncIterable<StreamAgentRequest>;
  },
): AsyncGenerator<LineInput> {
  const { first, rest } = frames;
  if (first !== undefined && first.payload.case !== undefined) yield inputOf(first);
  for await (const frame of rest) {
    if (frame.agentId !== "" && frame.agentId !== id) {
      const description = `is another than that of the first frame; it is "${id}" or empty on this line`;
      throw invalid("take a frame", [{ field: "agent_id", description }]);
    }
    yield inputOf(frame);
  }
}

function inputOf({ payload }: StreamAgentRequest): LineInput {
  switch (payload.case) {
    case "heartbeat":
      return { kind: "heartbeat" };
    case "message":
      return { kind: "message", message: agentMessageOf(payload.value) };
    case undefined:
      throw invalid("take a frame", [{ field: "payload", description: "is missing; message or heartbeat" }]);
  }
}

/** @param task goes along with the message that tells of it */
function toWireOutput(output: LineOutput, task?: ReturnType<typeof toWireTask>) {
  const payload =
    output.kind === "heartbeat"
      ? { case: "heartbeat" as const, value: {} }
      : { case: "message" as const, value: toWireAgentMessage(output.message, task) };
  return { payload };
}
