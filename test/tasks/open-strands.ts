import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Client } from "../../src/client/client.ts";
import type { StrandRequestSchema, StrandResponse } from "../../src/gen/proto/agent/v1/agent_pb.ts";
import { PushedFrames } from "../client/pushed-frames.ts";

type Request = MessageInitShape<typeof StrandRequestSchema>;
type Step = StrandResponse["step"];

/** A StreamTasks that a test plays by hand. */
export interface OpenStrands extends AsyncDisposable {
  /** Says some steps in one message. */
  say(...strands: readonly Request[]): void;
  halfClose(): void;
  /** The next step of a strand; those of others wait until they are asked for. */
  next(strand: number): Promise<Step>;
  /** The next step of a kind, whatever comes before it. */
  nextOf<Case extends Step["case"]>(
    strand: number,
    kind: Case,
  ): Promise<Extract<Step, { case: Case }>["value"]>;
  /** Resolves when the server has ended the stream well. */
  readonly over: Promise<void>;
}

export async function openStrands(
  client: Client,
  metadata: Readonly<Record<string, string>> = {},
): Promise<OpenStrands> {
  const messages = new PushedFrames<{ readonly strands: Request[] }>();
  const answers = client.agent.streamTasks(messages, { metadata });
  const steps = new Map<number, Step[]>();
  let changed = Promise.withResolvers<void>();
  const read = async () => {
    try {
      for await (const { strands } of answers) {
        for (const { strand, step } of strands) steps.set(strand, [...(steps.get(strand) ?? []), step]);
        changed.resolve();
        changed = Promise.withResolvers();
      }
      changed.resolve();
    } catch (error) {
      changed.promise.catch(() => undefined); // nobody may wait for more
      changed.reject(error);
      throw error;
    }
  };
  await answers.started();
  let isOver = false;
  const over = read().finally(() => {
    isOver = true;
  });
  over.catch(() => undefined); // whoever waits for it hears of it
  const strands: OpenStrands = {
    say: (...some) => messages.push({ strands: [...some] }),
    halfClose: () => messages.end(),
    next: async (strand) => {
      for (;;) {
        const step = steps.get(strand)?.shift();
        if (step !== undefined) return step;
        if (isOver) throw new Error(`the stream has ended, and strand ${strand} has no more steps`);
        await changed.promise;
      }
    },
    nextOf: async (strand, kind) => {
      for (;;) {
        const step = await strands.next(strand);
        if (step.case === kind) return step.value as never; // of this kind, as was just seen
      }
    },
    over,
    [Symbol.asyncDispose]: async () => {
      messages.end();
      await answers[Symbol.asyncDispose]();
      await over.catch(() => undefined);
    },
  };
  return strands;
}
