import { expect, test } from "bun:test";
import { create } from "@bufbuild/protobuf";
import { type StreamTasksRequest, StreamTasksRequestSchema } from "../../src/gen/proto/agent/v1/agent_pb.ts";
import { orAborted } from "../../src/or-aborted.ts";
import type { Call } from "../../src/rpc/call.ts";
import type { TaskCallParts } from "../../src/rpc/task-calls.ts";
import { strandCalls } from "../../src/rpc/task-strands.ts";
import type { OpenedStream } from "../../src/tasks/opened-stream.ts";

/** A message that begins a strand on some task. */
function opens(strand: number): StreamTasksRequest {
  return create(StreamTasksRequestSchema, {
    strands: [{ strand, step: { case: "open", value: { taskId: "some" } } }],
  });
}

test("streamTasks() begins nothing by a message that comes while the stream ends", async () => {
  const begun: OpenedStream[] = [];
  const streams = {
    serve: async function* (_: string, opening: OpenedStream) {
      begun.push(opening);
      opening.opened({});
      await orAborted(new Promise<never>(() => {}), opening.call.signal); // until its client leaves it
    },
  };
  // Of the parts and of the call it takes no more than these.
  const parts = { streams, clock: Date.now } as unknown as TaskCallParts;
  const call = { open: () => {}, caller: { actor: "somebody" } } as unknown as Call;

  // No client can be made to say something at just this moment.
  const last = Promise.withResolvers<IteratorResult<StreamTasksRequest, undefined>>();
  const said = [opens(1)];
  const requests = {
    next: () => {
      const value = said.shift();
      return value === undefined ? last.promise : Promise.resolve({ done: false as const, value });
    },
    return: async () => {
      last.resolve({ done: false, value: opens(2) });
      requests.next = async () => ({ done: true, value: undefined });
      return { done: true as const, value: undefined };
    },
    [Symbol.asyncIterator]: () => requests,
  };
  const answers = strandCalls(parts).streamTasks?.(requests, call);
  const iterator = answers?.[Symbol.asyncIterator]();
  expect((await iterator?.next())?.done).toBe(false);
  await iterator?.return?.();
  expect(begun).toHaveLength(1);
  expect(begun[0]?.call.signal.aborted).toBe(true);
});
