import { expect } from "bun:test";
import type { engineName } from "../../src/containers/container.ts";
import type { ExecInput, ExecOutput, ExecStart } from "../../src/containers/execs/exec.ts";
import { type DomainSubject, domainSubject } from "./domain-subject.ts";

/** Runs until it is killed; says that it does. */
export const ENDLESS = ["sh", "-c", "echo on; while true; do sleep 0.01; done"];

type Heard = (words: string) => Promise<void>;

export interface Running extends DomainSubject {
  readonly id: Parameters<typeof engineName>[0];
  readonly sessionId: Awaited<ReturnType<DomainSubject["session"]>>;
  start(start: Partial<ExecStart>): ExecStart;
  /** Runs a command to its end; `input` can wait for words of its output. */
  run(
    start: Partial<ExecStart>,
    input?: (heard: Heard) => AsyncGenerator<ExecInput>,
    outputs?: ExecOutput[],
  ): Promise<readonly ExecOutput[]>;
  /** Resolves when no command runs in the engine: the engine says nothing of a command's end. */
  noProcess(): Promise<void>;
  /** Holds that the log has one end, of this kind, and that no row is left. */
  expectEnded(kind: string): Promise<void>;
}

/** A domain with a container that runs. */
export async function running(limits: Readonly<Record<string, string>> = {}): Promise<Running> {
  const subject = await domainSubject({ limits });
  const sessionId = await subject.session();
  const { id } = await subject.create(sessionId);
  const start = (more: Partial<ExecStart>): ExecStart => ({
    containerId: id,
    command: ["true"],
    env: {},
    workingDir: "",
    user: "",
    tty: false,
    stdin: false,
    timeoutNs: 0n,
    onDisconnect: "kill",
    ...more,
  });
  return {
    ...subject,
    id,
    sessionId,
    start,
    run: async (more, input = none, outputs = []) => {
      let said = "";
      let word = Promise.withResolvers<void>();
      const heard: Heard = async (words) => {
        while (!said.includes(words)) await word.promise;
      };
      for await (const output of subject.execs.run(start(more), input(heard), subject.call())) {
        outputs.push(output);
        if (output.kind === "stdout") said += Buffer.from(output.data).toString();
        word.resolve();
        word = Promise.withResolvers();
      }
      return outputs;
    },
    noProcess: async () => {
      while (subject.runtime.running > 0) await Bun.sleep(1); // the fake engine tells nobody
    },
    expectEnded: async (kind) => {
      const finished = await subject.events("exec_finished");
      expect(finished.map(({ data }) => data?.end)).toEqual([kind]);
      expect(await subject.openExecs()).toBe(0);
      expect(subject.execs.running).toBe(0);
    },
  };
}

export async function* none(): AsyncGenerator<ExecInput> {}

/** An input without a frame that ends when `act` is done. */
export async function* afterwards(act: () => Promise<void>): AsyncGenerator<ExecInput> {
  await act();
  yield* none();
}

export function ends(outputs: readonly ExecOutput[]) {
  return outputs.flatMap((output) => (output.kind === "end" ? [output.end] : []));
}

export function text(outputs: readonly ExecOutput[]): string {
  return Buffer.concat(outputs.flatMap((output) => ("data" in output ? [output.data] : []))).toString();
}
