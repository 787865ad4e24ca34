import { expect, test } from "bun:test";
import type { RuntimeId } from "../../src/runtime/runtime.ts";
import { all, bytes, failure, type Subject, soon, text } from "./runtime-subject.ts";

/** An engine that is busy notes a start and an end when it comes to it. */
const SLACK_MS = 60_000;

export function logContract(subject: Subject): void {
  test("logs() gives stdout and stderr apart", async () => {
    const id = await subject.ran(subject.script("echo out; echo err >&2"));
    const chunks = await all(subject.logs(id));
    expect(text(chunks.filter(({ stream }) => stream === "stdout"))).toBe("out\n");
    expect(text(chunks.filter(({ stream }) => stream === "stderr"))).toBe("err\n");
    expect(await subject.text(id, { stderr: false })).toBe("out\n");
    expect(await subject.text(id, { stdout: false })).toBe("err\n");
    expect(await subject.text(id, { stdout: false, stderr: false })).toBe("");
  });

  test("logs() with tail gives the last lines", async () => {
    const id = await subject.ran(subject.script("seq 1 20"));
    expect(await subject.text(id, { tail: 3 })).toBe("18\n19\n20\n");
    expect(await subject.text(id, { tail: 0 })).toBe("");
    expect(await subject.text(id, { tail: 100 })).toBe(
      Array.from({ length: 20 }, (_, n) => `${n + 1}\n`).join(""),
    );
  });

  test("logs() with timestamps gives one line a chunk and its time, which since and until take", async () => {
    const { logTimeMs } = await subject.capabilities();
    // Far enough from each other for an engine that counts coarsely.
    const sleep = `sleep ${Math.max(0.1, (logTimeMs * 1.1) / 1000)}`;
    const id = await subject.ran(subject.script(`echo one; ${sleep}; echo two; ${sleep}; echo three`));
    const lines = await all(subject.logs(id, { timestamps: true }));
    expect(lines.map((line) => text([line]))).toEqual(["one\n", "two\n", "three\n"]);
    const [one = 0, two = 0, three = 0] = lines.map(({ at }) => at);
    expect([one, two, three].map((at) => at % logTimeMs)).toEqual([0, 0, 0]);
    const { startedAt = 0, exitedAt = 0 } = await subject.facts(id);
    expect(startedAt - SLACK_MS <= one && one < two && two < three && three <= exitedAt + SLACK_MS).toBe(
      true,
    );
    expect(await subject.text(id, { since: two })).toBe("two\nthree\n");
    expect(await subject.text(id, { until: two - 1 })).toBe("one\n");
    expect(await subject.text(id, { since: one + logTimeMs, until: three - 1, timestamps: true })).toBe(
      "two\n",
    );
  });

  test("logs() with follow gives what comes as it comes, and ends with the container", async () => {
    const id = await subject.started(subject.script("echo first; sleep 100000"));
    const seen: string[] = [];
    for await (const chunk of subject.logs(id, { follow: true })) {
      seen.push(text([chunk]));
      await subject.runtime.stop(id, { graceMs: 0 }, soon());
    }
    expect(seen).toEqual(["first\n"]);
  });

  test("logs() with follow of a container that has not been started gives its output from the start", async () => {
    const id = await subject.created(subject.script("echo late"));
    await subject.runtime.start(id, soon());
    expect(await subject.text(id, { follow: true })).toBe("late\n");
  });

  test("logs() with follow gives all also when it does not end with the end of a line", async () => {
    const numbers = Array.from({ length: 20_000 }, (_, n) => n + 1).join("");
    const script = `printf ${numbers}; printf 'no end' >&2`;
    const id = await subject.started(subject.script(script, { logBytes: 64_000_000n }));
    const chunks = await all(subject.logs(id, { follow: true }));
    expect(text(chunks.filter(({ stream }) => stream === "stdout"))).toBe(numbers);
    expect(text(chunks.filter(({ stream }) => stream === "stderr"))).toBe("no end");
  });

  test("attach() before the start gives all output byte for byte, stdout and stderr apart, and ends with the container", async () => {
    const id = await subject.created(subject.script("printf 'no end'; echo err >&2; seq 1 5000"));
    const output = await subject.runtime.attach(id, soon());
    await subject.runtime.start(id, soon());
    const chunks = await all(output);
    const numbers = Array.from({ length: 5_000 }, (_, n) => `${n + 1}\n`).join("");
    expect(text(chunks.filter(({ stream }) => stream === "stdout"))).toBe(`no end${numbers}`);
    expect(text(chunks.filter(({ stream }) => stream === "stderr"))).toBe("err\n");
  });

  test("attach() ends with CANCELLED when its signal aborts, and is NOT_FOUND for a container that is gone", async () => {
    const id = await subject.started(subject.script("sleep 100000"));
    const aborting = new AbortController();
    const output = failure(all(await subject.runtime.attach(id, aborting.signal)));
    aborting.abort();
    expect((await output).kind).toBe("cancelled");
    await subject.runtime.remove(id, soon());
    expect((await failure(subject.runtime.attach(id, soon()))).kind).toBe("not_found");
  });

  test("logs() passes bytes that are no text", async () => {
    const id = await subject.ran(subject.script("printf '\\000\\377\\200x\\n'", { logBytes: 1_000_000n }));
    expect(bytes(await all(subject.logs(id)))).toEqual(Buffer.from([0, 255, 128, 120, 10]));
  });

  test("logs() of a terminal are stdout, with timestamps too", async () => {
    const id = await subject.ran(subject.script("echo out; echo err >&2", { tty: true }));
    const chunks = await all(subject.logs(id));
    expect(chunks.every(({ stream }) => stream === "stdout")).toBe(true);
    expect(text(chunks)).toBe("out\r\nerr\r\n");
    const lines = await all(subject.logs(id, { timestamps: true }));
    expect(lines.map((line) => text([line]))).toEqual(["out\r\n", "err\r\n"]);
    expect(lines.every(({ at }) => at !== undefined)).toBe(true);
  });

  test("logs() keeps order over thousands of lines, also when it is left and read again", async () => {
    const id = await subject.ran(subject.script("seq 1 5000"));
    for await (const _ of subject.logs(id)) break;
    const wanted = Array.from({ length: 5_000 }, (_, n) => `${n + 1}\n`).join("");
    expect(await subject.text(id)).toBe(wanted);
  });

  test("logs() ends with CANCELLED when its signal aborts while it waits", async () => {
    const id = await subject.started(subject.script("echo first; sleep 100000"));
    expect(await abortedAfterFirst(subject, id)).toBe("cancelled");
    await subject.runtime.remove(id, soon());
  });
}

async function abortedAfterFirst(subject: Subject, id: RuntimeId): Promise<string> {
  const aborting = new AbortController();
  const logs = subject.logs(id, { follow: true }, aborting.signal)[Symbol.asyncIterator]();
  await logs.next();
  const next = failure(logs.next());
  aborting.abort();
  return (await next).kind;
}
