import { describe, expect, test } from "bun:test";
import { connectDocker } from "../../../src/runtime/docker/docker.ts";
import type { ContainerSpec, OutputChunk, Prepared, Runtime } from "../../../src/runtime/runtime.ts";
import { Subject, soon, text } from "../../contract/runtime-subject.ts";
import { engine } from "../../engine.ts";
import { initFile } from "../../init.ts";

const hardened = { dropCapabilities: ["ALL"], noNewPrivileges: true, init: false } as const;

const subject = new Subject(async () => {
  const { dockerHost, image } = await engine();
  return { runtime: connectDocker({ dockerHost, initFile: initFile() }), image };
});

describe("the end of a claimed command", () => {
  for (const user of ["", "app"]) {
    test(`waits to be let go, and is then its own, as user "${user}"`, async () => {
      const prepared = await prepare({ user });
      const { letGo, output } = await ending(prepared, "echo out; echo err >&2; exit 7");
      expect((await subject.facts(prepared.facts.id)).state).toBe("running");
      letGo();
      const chunks = await output;
      expect([of(chunks, "stdout"), of(chunks, "stderr")]).toEqual(["out\n", "err\n"]);
      expect(await subject.facts(prepared.facts.id)).toMatchObject({ state: "exited", exitCode: 7 });
    });
  }

  test("comes by itself when nobody lets it go", async () => {
    const prepared = await prepare();
    await (await ending(prepared, "exit 8")).output;
    expect(await subject.facts(prepared.facts.id)).toMatchObject({ state: "exited", exitCode: 8 });
  });

  test("comes when the server that held it up is gone", async () => {
    const { dockerHost } = await engine();
    const other = connectDocker({ dockerHost, initFile: initFile() });
    const prepared = await prepare({}, other);
    await ending(prepared, "exit 9");
    await other[Symbol.asyncDispose]();
    for await (const _ of subject.runtime.logs(prepared.facts.id, followed, soon()));
    expect(await subject.facts(prepared.facts.id)).toMatchObject({ state: "exited", exitCode: 9 });
  });

  test("comes with a stop, and a removal does not wait for it", async () => {
    const stopped = await prepare();
    await ending(stopped, "exit 10");
    await subject.runtime.stop(stopped.facts.id, { graceMs: 60_000 }, soon());
    expect(await subject.facts(stopped.facts.id)).toMatchObject({ state: "exited", exitCode: 10 });
    const removed = await prepare();
    await ending(removed, "exit 11");
    await subject.runtime.remove(removed.facts.id, soon());
    expect(await subject.runtime.inspect(removed.facts.id, soon())).toBeUndefined();
  });
});

test("a claimed command has the signals of a first process while its end may be held up", async () => {
  const prepared = await prepare();
  const script =
    "kill -9 1; kill -TERM 1; trap 'echo usr1' USR1; kill -USR1 1; (exit 3) & wait $!; echo $? $$; exit 4";
  const { letGo, output } = await ending(prepared, script);
  letGo();
  expect(of(await output, "stdout")).toBe("usr1\n3 1\n");
  expect((await subject.facts(prepared.facts.id)).exitCode).toBe(4);
});

test("a claimed command is not traced that nobody wants to hold up, or that may have few processes", async () => {
  for (const [pids, onEnding] of [
    [0n, undefined],
    [8n, (letGo: () => void) => letGo()],
  ] as const) {
    const prepared = await prepare({ limits: { ...limits, pids } });
    const becoming = { ...process, limits: { ...limits, pids }, args: ["grep TracerPid /proc/1/status"] };
    await prepared.become(becoming, { onEnding }, soon());
    expect(of(await collected(prepared), "stdout")).toBe("TracerPid:\t0\n");
  }
});

test("a claimed command that goes on is traced no more", async () => {
  const prepared = await prepare();
  const script = "until grep -q 'TracerPid:.0' /proc/1/status; do sleep 0.05; done; exit 5";
  let isHeld = false;
  const onEnding = () => {
    isHeld = true;
  };
  await prepared.become({ ...process, args: [script] }, { onEnding }, soon());
  for await (const _ of prepared.output);
  expect([isHeld, (await subject.facts(prepared.facts.id)).exitCode]).toEqual([false, 5]);
});

const limits = { nanoCpu: 0n, memoryBytes: 0n, memorySwapBytes: 0n, pids: 0n };
const process = { command: ["sh", "-c"], args: [], env: {}, workingDir: "", limits, networkMode: "none" };
const followed = { follow: true, timestamps: false, stdout: true, stderr: true, tty: false } as const;

async function prepare(over: Partial<ContainerSpec> = {}, runtime: Runtime = subject.runtime) {
  const prepared = await runtime.prepare?.(subject.script("", { ...hardened, ...over }), soon());
  if (prepared === undefined) throw new Error("this runtime prepares no containers");
  return prepared;
}

/** Resolves when the command has ended and its container has not. */
async function ending(prepared: Prepared, script: string) {
  const held = Promise.withResolvers<() => void>();
  await prepared.become({ ...process, args: [script] }, { onEnding: held.resolve }, soon());
  const output = collected(prepared);
  return { letGo: await held.promise, output };
}

async function collected({ output }: Prepared): Promise<readonly OutputChunk[]> {
  const chunks: OutputChunk[] = [];
  for await (const chunk of output) chunks.push(chunk);
  return chunks;
}

function of(chunks: readonly OutputChunk[], stream: OutputChunk["stream"]): string {
  return text(chunks.filter((chunk) => chunk.stream === stream));
}
