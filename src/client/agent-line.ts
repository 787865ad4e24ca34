import type { MessageInitShape } from "@bufbuild/protobuf";
import { Failure } from "../failure.ts";
import type {
  AgentMessage,
  AgentMessageSchema,
  StreamAgentRequestSchema,
} from "../gen/proto/agent/v1/agent_pb.ts";
import { backoffMs, pause } from "./backoff.ts";
import type { Client } from "./client.ts";
import { FrameQueue } from "./frame-queue.ts";

type Frame = MessageInitShape<typeof StreamAgentRequestSchema>;

/** Puts a message on the line. Done when it is on its way; what is sent when that line is gone is lost, and no error. */
export type SendOnLine = (message: MessageInitShape<typeof AgentMessageSchema>) => Promise<void>;

export interface LineOptions {
  readonly agentId: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  /** Told whenever the line is in place, the first time and after each interruption; `send` is of that line alone. */
  readonly opened: (send: SendOnLine) => void;
  /** Told why the line was lost, and in how many milliseconds it is tried again. */
  readonly lost: (failure: Failure, againInMs: number) => void;
  readonly heard: (message: AgentMessage) => void;
}

/**
 * Holds an agent's line open until `signal` aborts, and opens it again whenever its connection is lost.
 *
 * Failures: the signal's; NOT_FOUND when the server does not know the agent (any more); ABORTED when the same agent has
 * opened another line.
 */
export async function holdLine(client: Client, options: LineOptions): Promise<never> {
  const { signal } = options;
  for (let failures = 0; ; ) {
    try {
      await openLine(client, options, () => {
        failures = 0;
      });
      throw new Failure("unavailable", "Cannot go on with the agent's line: the server has ended it");
    } catch (error) {
      const failure = Failure.from(error);
      if (failure?.kind !== "unavailable" || signal.aborted) throw error;
      failures += 1;
      const ms = backoffMs(failures, { maxMs: client.reconnect.intervalMs, random: Math.random() });
      options.lost(failure, ms);
      await pause(ms, signal);
    }
  }
}

async function openLine(client: Client, options: LineOptions, isOpen: () => void): Promise<void> {
  const { agentId, metadata, signal, opened, heard } = options;
  const frames = new FrameQueue<Frame>();
  using _closing = { [Symbol.dispose]: () => frames.close() };
  const requests = begunBy({ agentId, payload: { case: "heartbeat", value: {} } }, frames);
  await using answers = client.agent.streamAgent(requests, { signal, metadata, waitForReady: false });
  await answers.started();
  isOpen();
  opened((message) => frames.push({ payload: { case: "message", value: message } }));
  for await (const { payload } of answers) if (payload.case === "message") heard(payload.value);
}

/** What names the agent, and then what it says: the stream stays open when that is nothing. */
async function* begunBy(first: Frame, rest: FrameQueue<Frame>): AsyncGenerator<Frame> {
  yield first;
  yield* rest;
}
