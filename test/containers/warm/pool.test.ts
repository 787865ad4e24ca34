import { describe, expect, test } from "bun:test";
import { OneAtATime } from "../../../src/containers/one-at-a-time.ts";
import { plainSpec } from "../../../src/containers/policy/plain-spec.ts";
import { Pool, type PoolOptions } from "../../../src/containers/warm/pool.ts";
import { Failure } from "../../../src/failure.ts";
import type { ContainerSpec, Prepared } from "../../../src/runtime/runtime.ts";
import { FakeRuntime } from "../../runtime/fake-runtime.ts";

const defaults = { nanoCpu: 1n, memoryBytes: 2n, pids: 3n, logBytes: 4, allowedPaths: [] };
const demo = plainSpec("demo:1", defaults);
const other = plainSpec("other:1", defaults);

describe("Pool.take()", () => {
  test("gives each prepared container once, with its lock, and prepares the next", async () => {
    await using subject = new Subject({ configured: [demo] });
    await subject.waits(2);
    const taken = [subject.pool.take(demo), subject.pool.take(demo), subject.pool.take(demo)];
    expect(taken.map((one) => one === undefined)).toEqual([false, false, true]);
    expect(new Set(taken.map((one) => one?.id)).size).toBe(3);
    expect(subject.locks.held(taken[0]?.id ?? "")).toBe(true);
    await subject.waits(2);
    expect(subject.runtime.names().length).toBe(4);
  });

  test("gives none for what differs, or can't be prepared", async () => {
    await using subject = new Subject({ configured: [demo] });
    await subject.waits(2);
    expect(subject.pool.take(other)).toBeUndefined();
    expect(subject.pool.take({ ...demo, readOnlyRootfs: true })).toBeUndefined();
    expect(subject.pool.take({ ...demo, networkMode: "bridge" })).toBeUndefined();
    expect(subject.pool.take({ ...demo, hostname: "own" })).toBeUndefined();
    expect(subject.pool.take({ ...demo, limits: { ...demo.limits, pids: 0n } })).toBeUndefined();
    expect(subject.pool.waiting).toBe(2);
  });

  test("gives one with other limits, but rather one that has them", async () => {
    await using subject = new Subject({ configured: [demo] });
    await subject.waits(2);
    const larger = { ...demo, limits: { ...demo.limits, memoryBytes: 9n } };
    expect(subject.pool.take(larger)?.limits).toEqual(demo.limits);
    await subject.waits(2);
    expect(subject.pool.take(larger)?.limits).toEqual(larger.limits);
  });

  test("gives none where none may wait", async () => {
    await using subject = new Subject({ configured: [demo], options: { maxContainers: 0 } });
    expect(subject.pool.take(demo)).toBeUndefined();
    await subject.running;
    expect(subject.runtime.names()).toEqual([]);
  });

  test("makes the pool prepare what was asked for twice", async () => {
    await using subject = new Subject();
    subject.pool.take(demo);
    subject.pool.take(demo);
    await subject.waits(2);
    expect(subject.pool.take(demo)).toBeDefined();
  });
});

test("Pool.take() remembers what is new, however much was asked for before", async () => {
  await using subject = new Subject();
  for (let version = 100; version < 170; version++) subject.pool.take(plainSpec(`demo:${version}`, defaults));
  subject.pool.take(demo);
  while (subject.pool.take(demo) === undefined) await subject.prepared();
});

test("Pool.giveBack() has it wait again", async () => {
  await using subject = new Subject({ configured: [demo] });
  await subject.waits(2);
  const taken = subject.pool.take(demo);
  if (taken === undefined) throw new Error("none waits");
  subject.pool.giveBack(taken);
  expect(subject.pool.take(demo)?.id).toBe(taken.id);
});

describe("Pool.run()", () => {
  test("prepares no more than may wait, and makes room for what is asked for now", async () => {
    await using subject = new Subject({ configured: [demo], options: { maxContainers: 2 } });
    await subject.waits(2);
    subject.pool.take(other);
    subject.pool.take(other);
    while (subject.pool.take(other) === undefined) await subject.prepared();
    expect(subject.pool.waiting).toBeLessThanOrEqual(2);
  });

  test("replaces one that is gone", async () => {
    await using subject = new Subject({ configured: [demo] });
    await subject.waits(2);
    const [first] = subject.runtime.names();
    subject.runtime.end(first ?? "");
    while (subject.runtime.names().includes(first ?? "")) await Bun.sleep(0);
    await subject.waits(2);
  });

  test("rests when it can't prepare, and does nothing while the engine is away", async () => {
    await using subject = new Subject({ configured: [demo], isUp: false });
    subject.runtime.failNext("create", new Failure("not_found", "Cannot create: no image"));
    subject.isUp = true;
    subject.pool.wake();
    while ((subject.runtime.calls.get("create") ?? 0) === 0) await Bun.sleep(0);
    subject.pool.wake();
    await Bun.sleep(0);
    expect(subject.runtime.calls.get("create")).toBe(1);
    expect(subject.refused).toEqual(["demo:1"]);
  });

  test("rests when the engine can't prepare such a container, and goes on with others", async () => {
    await using subject = new Subject();
    subject.runtime.connects = false;
    const networked = { ...demo, networkMode: "one" };
    for (const spec of [networked, networked, demo, demo]) subject.pool.take(spec);
    await subject.waits(2);
    subject.pool.take(networked);
    subject.pool.wake();
    for (let turn = 0; turn < 10; turn++) await subject.prepared();
    expect(subject.runtime.asked.filter((network) => network === "one").length).toBe(1);
    expect(subject.refused).toEqual([]);
  });

  test("removes all that waits when it is told to stop", async () => {
    const subject = new Subject({ configured: [demo] });
    await subject.waits(2);
    await subject[Symbol.asyncDispose]();
    expect(subject.runtime.names()).toEqual([]);
    expect(subject.pool.waiting).toBe(0);
  });
});

/** An engine in memory that prepares containers, which then do nothing. */
class PreparingRuntime extends FakeRuntime {
  readonly #made = new Map<string, PromiseWithResolvers<void>>();

  names(): readonly string[] {
    return [...this.#made.keys()];
  }

  end(name: string): void {
    this.#made.get(name)?.resolve();
  }

  /** Whether it can prepare a container that is to get a network. */
  connects = true;
  /** Networks of what it was asked to prepare. */
  readonly asked: string[] = [];

  readonly prepare = async (spec: ContainerSpec, signal: AbortSignal): Promise<Prepared | undefined> => {
    this.asked.push(spec.networkMode);
    if (!this.connects && spec.networkMode !== "none") return undefined;
    const id = await this.create(spec, signal);
    const facts = await this.inspect(id, signal);
    if (facts === undefined) throw new Error("it was made a moment ago");
    const gone = Promise.withResolvers<void>();
    this.#made.set(spec.name, gone);
    const output = (async function* () {})();
    return {
      facts,
      output,
      endOutput: () => {},
      gone: gone.promise,
      isUsable: true,
      suits: ({ limits }) => limits.pids > 0n,
      become: async () => facts,
    };
  };

  override async remove(...[id, signal]: Parameters<FakeRuntime["remove"]>): Promise<void> {
    await super.remove(id, signal);
    this.#made.get(id)?.resolve();
    this.#made.delete(id);
  }
}

class Subject implements AsyncDisposable {
  readonly runtime = new PreparingRuntime({ images: ["demo:1", "other:1"] });
  readonly locks = new OneAtATime();
  readonly pool: Pool;
  readonly running: Promise<void>;
  readonly refused: string[] = [];
  isUp: boolean;
  readonly #stop = new AbortController();

  constructor(
    options: {
      readonly configured?: readonly (typeof demo)[];
      readonly options?: Partial<PoolOptions>;
      readonly isUp?: boolean;
    } = {},
  ) {
    this.isUp = options.isUp ?? true;
    this.pool = new Pool(
      {
        runtime: this.runtime,
        locks: this.locks,
        clock: Date.now,
        background: { start: (_, work) => void work(this.#stop.signal) },
        install: "test",
        operationMs: 10_000,
        isUp: () => this.isUp,
        onRefused: (image) => this.refused.push(image),
        configured: options.configured ?? [],
      },
      { maxContainers: 4, perShape: 2, idleMs: 600_000, ...options.options },
    );
    this.running = this.pool.run(this.#stop.signal);
  }

  async waits(count: number): Promise<void> {
    while (this.pool.waiting < count) await this.prepared();
  }

  /** Lets the pool go on. */
  async prepared(): Promise<void> {
    await Bun.sleep(0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Failure("unavailable", "Cannot go on: the test is over"));
    await this.running;
  }
}
