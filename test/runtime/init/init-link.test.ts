import { describe, expect, test } from "bun:test";
import { Failure } from "../../../src/failure.ts";
import { frame, KIND, number32, PROTOCOL } from "../../../src/runtime/init/frames.ts";
import { InitLink } from "../../../src/runtime/init/init-link.ts";
import type { Exec, ExecSpec, OutputChunk } from "../../../src/runtime/runtime.ts";
import { failure } from "../../contract/runtime-subject.ts";

const spec: ExecSpec = { command: ["true"], env: {}, workingDir: "", user: "", tty: false, stdin: false };
const signal = new AbortController().signal;

describe("InitLink.start()", () => {
  test("does not have a command tried another way that may have begun", async () => {
    await using init = new FakeInit();
    const link = await init.open();
    const starting = failure(link.start(spec, signal));
    await init.has(KIND.start);
    init.end();
    const refused = await starting;
    expect([refused.kind, refused.message]).toEqual([
      "unavailable",
      expect.stringContaining("whether it has begun is not known"),
    ]);
  });

  test("has one tried another way that the init could not start, or that it was never told of", async () => {
    await using init = new FakeInit();
    const link = await init.open();
    const starting = link.start(spec, signal);
    await init.has(KIND.start);
    init.say(1, KIND.failed, number32(2));
    expect(await starting).toBeUndefined();
    init.end();
    await link.ended;
    expect(await link.start(spec, signal)).toBeUndefined();
  });

  test("kills a command whose caller gave up before it began", async () => {
    await using init = new FakeInit();
    const link = await init.open();
    const aborting = new AbortController();
    const starting = failure(link.start(spec, aborting.signal));
    await init.has(KIND.start);
    aborting.abort();
    expect((await starting).kind).toBe("cancelled");
    await init.has(KIND.signal);
  });
});

describe("InitLink.claim()", () => {
  const words = { command: ["true"], env: {}, workingDir: "" };
  const onEnding = undefined;

  test("has its command's end held where somebody listens, who lets it go", async () => {
    await using init = new FakeInit();
    const link = await init.open();
    const held = Promise.withResolvers<() => void>();
    const claiming = link.claim(words, { onEnding: held.resolve }, signal);
    await init.has(KIND.claimHeld);
    init.say(0, KIND.claiming);
    init.say(0, KIND.claimed);
    await claiming;
    init.say(0, KIND.ending);
    (await held.promise)();
    await init.has(KIND.letGo);
  });

  test("has handed over to a command that took the init along when it ended", async () => {
    await using init = new FakeInit();
    const link = await init.open();
    const claiming = link.claim(words, { onEnding }, signal);
    await init.has(KIND.claim);
    init.say(0, KIND.claiming);
    init.end();
    await claiming;
  });

  test("has not when the init ended before it said that the command begins", async () => {
    await using init = new FakeInit();
    const link = await init.open();
    const claiming = failure(link.claim(words, { onEnding }, signal));
    await init.has(KIND.claim);
    init.end();
    expect((await claiming).kind).toBe("failed_precondition");
  });

  test("has not when the command could not be begun after all", async () => {
    await using init = new FakeInit();
    const link = await init.open();
    const claiming = failure(link.claim(words, { onEnding }, signal));
    await init.has(KIND.claim);
    init.say(0, KIND.claiming);
    init.say(0, KIND.notClaimed, number32(2));
    expect((await claiming).message).toContain("errno 2");
  });

  test("does not know it when the engine is lost after the command was to begin", async () => {
    await using init = new FakeInit();
    const link = await init.open();
    const claiming = failure(link.claim(words, { onEnding }, signal));
    await init.has(KIND.claim);
    init.say(0, KIND.claiming);
    init.lose(new Failure("unavailable", "Cannot read: the engine is gone"));
    expect((await claiming).kind).toBe("unavailable");
  });
});

describe("a command over the init", () => {
  test("lets two write at once, and each go when its own signal aborts", async () => {
    await using init = new FakeInit();
    const { exec } = await init.running({ ...spec, stdin: true });
    const aborting = new AbortController();
    const first = failure(exec.write(Buffer.alloc(10), aborting.signal));
    const second = exec.write(Buffer.alloc(10), signal);
    aborting.abort();
    expect((await first).kind).toBe("cancelled");
    init.say(1, KIND.stdinCredit, number32(10));
    await second;
  });

  test("is unknown when not all of its output has come, although its exit code has", async () => {
    await using init = new FakeInit();
    const { exec, link } = await init.running(spec);
    init.say(1, KIND.stdout, Buffer.from("some"));
    init.say(1, KIND.exited, number32(0));
    init.end();
    await link.ended;
    const output = exec.output[Symbol.asyncIterator]();
    expect(Buffer.from((await output.next()).value?.data ?? []).toString()).toBe("some");
    expect((await failure(output.next())).kind).toBe("unavailable");
    expect((await exec.outcome(signal)).kind).toBe("unknown");
  });

  test("has not been killed before the init says so", async () => {
    await using init = new FakeInit();
    const { exec } = await init.running(spec);
    expect((await failure(exec.signal("KILL", signal))).message).toContain("does not answer");
    const killing = exec.signal("KILL", signal);
    init.say(1, KIND.exited, number32(9));
    await killing;
    expect(await exec.outcome(signal)).toEqual({ kind: "exited", code: 137 });
  }, 20_000);
});

describe("a connection to something that is not our init", () => {
  test("is refused when it speaks another version, or nothing that can be understood", async () => {
    for (const said of [
      frame(0, KIND.hello, number32(PROTOCOL + 1)),
      Buffer.from("OCI runtime exec failed: no"),
    ]) {
      await using init = new FakeInit({ silent: true });
      const opening = failure(init.open());
      init.raw(said);
      init.end();
      expect((await opening).kind).toBe("unavailable");
    }
  });

  test("ends when it sends more than was granted, a frame that is too long, or a kind that there is not", async () => {
    for (const said of [
      frame(1, KIND.stdout, Buffer.alloc(1024 * 1024 + 1)),
      frame(1, KIND.started, Buffer.alloc(5_000)),
      frame(1, 99),
      frame(1, KIND.exited, Buffer.alloc(1)),
      frame(1, KIND.stdinCredit, number32(0xffff_ffff)),
    ]) {
      await using init = new FakeInit();
      const link = await init.open();
      const starting = link.start(spec, signal);
      await init.has(KIND.start);
      init.say(1, KIND.started);
      const exec = await starting;
      init.raw(said);
      await link.ended;
      expect(link.isOpen).toBe(false);
      expect((await exec?.outcome(signal))?.kind).toBe("unknown");
    }
  });

  test("keeps nothing of what it says of commands that there are not", async () => {
    await using init = new FakeInit();
    const link = await init.open();
    for (let id = 7; id < 5_000; id++) init.say(id, KIND.stdout, Buffer.alloc(100));
    init.say(1, KIND.ended);
    expect(link.isOpen).toBe(true);
  });
});

/** The other end of a connection, as a test wants it. */
class FakeInit implements AsyncDisposable {
  readonly #frames: number[] = [];
  #told = Promise.withResolvers<void>();
  readonly #output: ReadableStream<OutputChunk>;
  readonly #say: ReadableStreamDefaultController<OutputChunk>;
  readonly #silent: boolean;
  #link: InitLink | undefined;

  constructor(options: { readonly silent: boolean } = { silent: false }) {
    let say: ReadableStreamDefaultController<OutputChunk> | undefined;
    this.#output = new ReadableStream<OutputChunk>({
      start: (controller) => {
        say = controller;
      },
    });
    if (say === undefined) throw new Error("a stream starts when it is made");
    this.#say = say;
    this.#silent = options.silent;
  }

  /** A command that runs, as the first of a connection. */
  async running(wanted: ExecSpec): Promise<{ readonly exec: Exec; readonly link: InitLink }> {
    const link = await this.open();
    const starting = link.start(wanted, signal);
    await this.has(KIND.start);
    this.say(1, KIND.started);
    const exec = await starting;
    if (exec === undefined) throw new Error("it was started");
    return { exec, link };
  }

  async open(): Promise<InitLink> {
    if (!this.#silent) this.say(0, KIND.hello, number32(PROTOCOL));
    this.#link = await InitLink.open(async () => this.#exec(), signal);
    return this.#link;
  }

  say(id: number, kind: number, body?: Uint8Array): void {
    this.raw(frame(id, kind, body));
  }

  raw(bytes: Uint8Array): void {
    this.#say.enqueue({ stream: "stdout", data: bytes });
  }

  end(): void {
    this.#say.close();
  }

  /** The engine's connection breaks. */
  lose(why: Failure): void {
    this.#say.error(why);
  }

  /** Resolves when the server has sent a frame of this kind. */
  async has(kind: number): Promise<void> {
    while (!this.#frames.includes(kind)) await this.#told.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#link?.[Symbol.asyncDispose]();
  }

  #exec(): Exec {
    const no = async () => {
      throw new Failure("failed_precondition", "Cannot do that to an init of a test");
    };
    return {
      id: "fake",
      output: this.#output,
      write: async (data) => {
        this.#frames.push(data[4] ?? 0);
        this.#told.resolve();
        this.#told = Promise.withResolvers();
      },
      closeStdin: no,
      resize: no,
      signal: no,
      outcome: no,
      [Symbol.asyncDispose]: async () => {
        try {
          this.#say.close();
        } catch {
          // it has been closed or was left
        }
      },
    };
  }
}
