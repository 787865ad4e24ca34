import { describe, expect, test } from "bun:test";
import type { ContainerId } from "../../src/containers/container.ts";
import { FirstOutputs } from "../../src/containers/first-output.ts";
import { Failure } from "../../src/failure.ts";
import type { LogOptions, OutputChunk } from "../../src/runtime/runtime.ts";

const id = "box" as ContainerId; // as: any text does here
const whole: LogOptions = { follow: true, timestamps: false, stdout: true, stderr: true };
const signal = new AbortController().signal;
const patience = { keptMs: 100, fullMs: 50 };

describe("FirstOutputs.take()", () => {
  test("gives what was written before and after it was asked, and does not read the engine's log", async () => {
    using box = new Box();
    box.write("stdout", "first");
    const reading = box.take();
    box.write("stderr", "second");
    box.exit();
    expect(await read(reading)).toEqual(["stdout first", "stderr second"]);
    expect(box.logs).toBe(0);
  });

  test("moves a slow reader to the engine's log, where it goes on behind what it has had", async () => {
    using box = new Box();
    box.write("stdout", "begin;");
    const reading = box.take();
    const first = await reading.next();
    expect(words(first.value)).toBe("stdout begin;");
    for (let part = 0; part < 5; part++) box.write(part % 2 === 0 ? "stdout" : "stderr", "x".repeat(30_000));
    await Bun.sleep(3 * patience.keptMs); // it is by time that a reader is slow
    box.write("stdout", "only the log has this");
    box.exit();
    const rest = await read(reading);
    expect(rest.join("").replaceAll(/std(out|err) /g, "").length).toBe(5 * 30_000 + 21);
    expect(rest.at(-1)).toBe("stdout only the log has this");
    expect(box.logs).toBe(1);
  });

  test("stays with the container for as long as its output is read, whatever the log has dropped", async () => {
    using box = new Box({ logBytes: 4_000 });
    const reading = box.take();
    const parts = Array.from({ length: 100 }, (_, part) => `${part}`.padStart(5_000, "."));
    const received = read(reading);
    for (const part of parts) box.write("stdout", part);
    box.exit();
    expect((await received).join("").replaceAll("stdout ", "")).toBe(parts.join(""));
    expect(box.logs).toBe(0);
  });

  test("lets the container wait for a reader whose place the log may have dropped", async () => {
    using box = new Box({ logBytes: 4_000 });
    const reading = box.take();
    for (let part = 0; part < 5; part++) box.write("stdout", "x".repeat(30_000));
    box.exit();
    const first = await reading.next();
    expect(words(first.value)).toHaveLength("stdout ".length + 30_000);
    await Bun.sleep(200); // longer than a reader of little is waited for
    expect((await read(reading)).join("")).toHaveLength(4 * ("stdout ".length + 30_000));
    expect(box.logs).toBe(0);
  });

  test("says so when the log begins behind what was given", async () => {
    using box = new Box();
    box.write("stdout", "first;");
    const reading = box.take();
    expect(words((await reading.next()).value)).toBe("stdout first;");
    box.drop();
    box.write("stdout", "second;third;", "log only");
    box.fail(new Failure("unavailable", "Cannot attach: the engine is gone"));
    expect(await read(reading).then(undefined, (error) => error)).toMatchObject({
      kind: "data_loss",
      details: { reason: "OUTPUT_LOST" },
    });
  });

  test("counts what a slow reader misses, which a log of the same bytes all over does not tell", async () => {
    using box = new Box();
    const reading = box.take();
    for (let part = 0; part < 5; part++) box.write("stdout", "0".repeat(30_000));
    await reading.next();
    await Bun.sleep(3 * patience.keptMs); // it is by time that a reader is slow
    box.drop();
    box.write("stdout", "0".repeat(130_000));
    box.exit();
    expect(await read(reading).then(undefined, (error) => error)).toMatchObject({
      kind: "data_loss",
      details: { reason: "OUTPUT_LOST" },
    });
    expect(box.logs).toBe(1);
  });

  test("is for one reader, and for the whole output alone", () => {
    using box = new Box();
    for (const other of [
      { tail: 1 },
      { follow: false },
      { timestamps: true },
      { stderr: false },
      { since: 1 },
    ]) {
      expect(box.outputs.take(id, { ...whole, ...other }, box.reading)).toBeUndefined();
    }
    expect(box.outputs.take(id, whole, box.reading)).toBeDefined();
    expect(box.outputs.take(id, whole, box.reading)).toBeUndefined();
  });

  test("falls back on the engine's log when the engine has cut the output off", async () => {
    using box = new Box();
    box.write("stdout", "first");
    const reading = box.take();
    expect(words((await reading.next()).value)).toBe("stdout first");
    box.write("stdout", "second", "log only");
    box.fail(new Failure("unavailable", "Cannot attach: the engine is gone"));
    expect(await read(reading)).toEqual(["stdout second"]);
    expect(box.logs).toBe(1);
  });

  test("ends with the reason of its signal while it waits", async () => {
    using box = new Box();
    const aborting = new AbortController();
    const reading = box.outputs.take(id, whole, { ...box.reading, signal: aborting.signal });
    const next = reading?.[Symbol.asyncIterator]().next();
    aborting.abort(new Failure("cancelled", "Cannot go on: the reader left"));
    expect(await next?.then(undefined, String)).toBe("Failure: Cannot go on: the reader left");
    await box.ended;
  });
});

describe("FirstOutputs.keep()", () => {
  test("reads on while nobody asks, and lets go when that is too much", async () => {
    using box = new Box();
    for (let part = 0; part < 4; part++) box.write("stdout", "x".repeat(30_000));
    await box.ended;
    expect(box.outputs.take(id, whole, box.reading)).toBeUndefined();
  });
});

/** A container of which the output is kept, and whose log has all of it. */
class Box implements Disposable {
  readonly outputs: FirstOutputs;
  readonly ended: Promise<void>;
  logs = 0;
  readonly #log: OutputChunk[] = [];
  readonly #stop = new AbortController();
  readonly #live: ReadableStreamDefaultController<OutputChunk>;
  #isRead = true;

  constructor({ logBytes }: { readonly logBytes: number } = { logBytes: 1_000_000 }) {
    const ended = Promise.withResolvers<void>();
    this.ended = ended.promise;
    this.outputs = new FirstOutputs(
      { start: (_, work) => void work(this.#stop.signal) },
      { logBytes, patience },
    );
    let live: ReadableStreamDefaultController<OutputChunk> | undefined;
    const output = new ReadableStream<OutputChunk>({
      start: (controller) => {
        live = controller;
      },
      cancel: () => {
        this.#isRead = false;
      },
    });
    if (live === undefined) throw new Error("a stream starts when it is made");
    this.#live = live;
    this.outputs.keep(id, { output, end: ended.resolve });
  }

  readonly reading = { log: () => this.#read(), signal };

  take(): AsyncIterator<OutputChunk> & AsyncIterable<OutputChunk> {
    const taken = this.outputs.take(id, whole, this.reading);
    if (taken === undefined) throw new Error("it is not kept");
    // as: what is taken is a generator
    return taken as AsyncGenerator<OutputChunk>;
  }

  write(stream: OutputChunk["stream"], text: string, where?: "log only"): void {
    const chunk = { stream, data: Buffer.from(text) };
    this.#log.push(chunk);
    if (where === undefined && this.#isRead) this.#live.enqueue(chunk);
  }

  /** As a log does that is full. */
  drop(): void {
    this.#log.length = 0;
  }

  exit(): void {
    if (this.#isRead) this.#live.close();
  }

  fail(failure: Failure): void {
    this.#live.error(failure);
  }

  async *#read(): AsyncGenerator<OutputChunk> {
    this.logs += 1;
    yield* this.#log;
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
  }
}

async function read(chunks: AsyncIterable<OutputChunk>): Promise<string[]> {
  const all: string[] = [];
  for await (const chunk of chunks) all.push(words(chunk));
  return all;
}

function words(chunk: OutputChunk | undefined): string {
  return chunk === undefined ? "" : `${chunk.stream} ${Buffer.from(chunk.data)}`;
}
