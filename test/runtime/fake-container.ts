import type {
  ContainerFacts,
  ContainerSpec,
  FactState,
  LogOptions,
  OutputChunk,
  PortSpec,
  ResourceReading,
  RuntimeId,
} from "../../src/runtime/runtime.ts";
import { FakeFiles } from "./fake-files.ts";
import { unlessAborted } from "./fake-pipe.ts";
import { FakeProcess } from "./fake-process.ts";

/** Given to who asks for any port. */
let nextPort = 49_152;

interface LogLine extends OutputChunk {
  readonly at: number;
}

/** A container of the fake engine: its facts, its process and its log. */
export class FakeContainer {
  // as: the fake engine is an engine, and its ids are what it makes
  readonly id = Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("hex") as RuntimeId;
  readonly spec: ContainerSpec;
  readonly imageDigest: string;
  readonly execs = new Set<FakeProcess>();
  name: string;
  state: FactState = "created";
  error: string | undefined;
  process: FakeProcess | undefined;
  readonly files = new FakeFiles();
  /** What it is to be measured with. */
  using: Partial<ResourceReading> = {};
  /** Called when one of its processes wants more memory than there is. */
  onOutOfMemory: (() => void) | undefined;
  readonly #createdAt = Date.now();
  #startedAt: number | undefined;
  #exitedAt: number | undefined;
  #exitCode: number | undefined;
  #ports: readonly PortSpec[];
  #ranOut = false;
  readonly #lines: LogLine[] = [];
  #changed = Promise.withResolvers<void>();

  constructor(spec: ContainerSpec, imageDigest: string) {
    this.spec = spec;
    this.name = spec.name;
    this.imageDigest = imageDigest;
    this.#ports = spec.ports;
  }

  get isLive(): boolean {
    return this.state === "running" || this.state === "paused";
  }

  facts(): ContainerFacts {
    const ended = this.state === "exited";
    return {
      id: this.id,
      name: this.name,
      image: this.spec.image,
      imageDigest: this.imageDigest,
      state: this.state,
      health: "none",
      createdAt: this.#createdAt,
      ...(this.#startedAt === undefined ? {} : { startedAt: this.#startedAt }),
      ...(ended && this.#exitedAt !== undefined ? { exitedAt: this.#exitedAt } : {}),
      ...(ended && this.#exitCode !== undefined ? { exitCode: this.#exitCode } : {}),
      oomKilled: ended && this.#ranOut, // no sooner, as Docker
      ...(this.error === undefined ? {} : { error: this.error }),
      labels: this.spec.labels,
      ports: this.#ports,
    };
  }

  /** What it uses now: a little, but for what a test says. */
  reading(): ResourceReading {
    const { limits } = this.spec;
    const at = Date.now();
    return {
      at,
      cpuNs: (at - (this.#startedAt ?? at)) * 100_000,
      memoryBytes: 1_048_576,
      memoryLimitBytes: Number(limits.memoryBytes),
      networkRxBytes: 0,
      networkTxBytes: 0,
      blockReadBytes: 0,
      blockWriteBytes: 0,
      pids: 1 + this.execs.size,
      pidsLimit: Number(limits.pids),
      ...this.using,
    };
  }

  /** Starts the process; `onEnd` is called when it has ended and the facts say so. */
  run(onEnd: () => void): FakeProcess {
    const { spec } = this;
    const process = new FakeProcess({
      argv: [...spec.command, ...spec.args],
      env: spec.env,
      workingDir: spec.workingDir,
      user: spec.user ?? "",
      tty: spec.tty ?? false,
      isFirst: !spec.init,
      outOfMemory: () => this.outOfMemory(),
      touch: (path) => this.files.touch(path),
      write: async (stream, data) => this.#log(stream, data),
    });
    this.process = process;
    this.#ports = spec.ports.map((port) => (port.hostPort === 0 ? { ...port, hostPort: nextPort++ } : port));
    this.#ranOut = false;
    this.state = "running";
    this.#startedAt = Date.now();
    process.exited.then((code) => {
      this.state = "exited";
      this.#ports = spec.ports;
      this.#exitCode = code;
      this.#exitedAt = Date.now();
      for (const exec of this.execs) exec.signal(9);
      this.tell();
      onEnd();
    });
    return process;
  }

  /** What is written from now on until it ends, from before its start too. */
  async *attached(signal: AbortSignal): AsyncGenerator<OutputChunk> {
    for (let next = this.#lines.length; ; ) {
      const line = this.#lines[next];
      if (line !== undefined) {
        next++;
        yield { stream: line.stream, data: line.data };
      } else if (this.isLive || this.state === "created") {
        await unlessAborted(this.#changed.promise, signal);
      } else {
        return;
      }
    }
  }

  async *read(options: LogOptions, signal: AbortSignal): AsyncGenerator<OutputChunk> {
    const skipped = options.tail === undefined ? 0 : Math.max(0, this.#lines.length - options.tail);
    for (let next = skipped; ; ) {
      const line = this.#lines[next];
      if (line !== undefined) {
        next++;
        if (wanted(line, options)) yield options.timestamps ? line : { stream: line.stream, data: line.data };
      } else if (options.follow && this.isLive) {
        await unlessAborted(this.#changed.promise, signal);
      } else {
        return;
      }
    }
  }

  /** A process of it wants all the memory that there is; false when nothing bounds that. */
  outOfMemory(): boolean {
    if (this.spec.limits.memoryBytes === 0n) return false;
    this.#ranOut = true;
    this.onOutOfMemory?.();
    return true;
  }

  /** Wakes those who follow the log. */
  tell(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }

  #log(stream: "stdout" | "stderr", data: Uint8Array): void {
    const at = Date.now();
    for (let start = 0; start < data.length; ) {
      const found = data.indexOf(10, start);
      const end = found < 0 ? data.length : found + 1;
      this.#lines.push({ stream, data: data.slice(start, end), at });
      start = end;
    }
    this.tell();
  }
}

function wanted(line: LogLine, options: LogOptions): boolean {
  if (!(line.stream === "stdout" ? options.stdout : options.stderr)) return false;
  return (
    line.at >= (options.since ?? Number.NEGATIVE_INFINITY) &&
    line.at <= (options.until ?? Number.POSITIVE_INFINITY)
  );
}
