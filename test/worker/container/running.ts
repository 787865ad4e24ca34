import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { TaskSchema } from "../../../src/gen/proto/agent/v1/agent_pb.ts";
import { InputQueue } from "../../../src/worker/input-queue.ts";
import type { RunningTask, TaskEnded } from "../../../src/worker/running-task.ts";

/** A task as its runner has it, with a test in the place of the server. */
export interface TestTask extends RunningTask {
  readonly input: InputQueue;
  end(how: TaskEnded): void;
  /** What it has written so far. */
  output(stream?: string): string;
  /** Waits until it has written this. */
  written(text: string): Promise<void>;
}

let count = 0;

type Given = Pick<MessageInitShape<typeof TaskSchema>, "type" | "config" | "sessionId">;

export function runningTask(task: Given): TestTask {
  const ending = new AbortController();
  const outputs: { readonly stream: string; readonly data: Buffer }[] = [];
  let changed = Promise.withResolvers<void>();
  const output = (wanted = "stdout") =>
    Buffer.concat(outputs.flatMap(({ stream, data }) => (stream === wanted ? [data] : []))).toString();
  count += 1;
  return {
    task: create(TaskSchema, { ...task, id: `task-${process.pid}-${count}` }),
    signal: ending.signal,
    input: new InputQueue(1024 * 1024),
    write: async (data, stream = "stdout") => {
      outputs.push({ stream, data: Buffer.from(data) });
      changed.resolve();
      changed = Promise.withResolvers();
    },
    progress: async () => undefined,
    end: (how) => ending.abort(how),
    output,
    written: async (text) => {
      while (!output().includes(text)) await changed.promise;
    },
  };
}
