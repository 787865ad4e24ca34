import type { MessageInitShape } from "@bufbuild/protobuf";
import { Failure } from "../failure.ts";
import type {
  ExecuteTaskRequestSchema,
  StrandOpeningSchema,
  StrandRequestSchema,
} from "../gen/proto/agent/v1/agent_pb.ts";
import type { Client } from "./client.ts";
import { closed } from "./connection.ts";
import { TaskStrand } from "./task-strand.ts";

type Request = MessageInitShape<typeof StrandRequestSchema>;

/**
 * Tasks over one stream in place of calls of their own, which cost much more. It is opened when it is first needed, and
 * anew when it was lost.
 *
 * @example
 * await using strands = new TaskStrands(client);
 * const strand = strands.execute({ type: TaskType.CUSTOM, config: { command: "echo" } });
 * const { taskId } = await strand.accepted; // durably
 * for await (const { payload } of strand) if (payload.case === "complete") console.log(payload.value.result);
 */
export class TaskStrands implements AsyncDisposable {
  readonly #client: Client;
  readonly #metadata: () => Readonly<Record<string, string>>;
  /** The one that strands begin on, and those before it that still have some. */
  #stream: StrandStream | undefined;
  readonly #streams = new Set<StrandStream>();
  #served: "yes" | "no" | "unknown" = "unknown";
  #closed = false;

  /**
   * @param metadata of the call, asked for whenever a strand begins: a worker's has its agent's token. When it has become
   * another the strand begins on another call, and those that are open keep theirs.
   */
  constructor(client: Client, metadata: () => Readonly<Record<string, string>> = () => ({})) {
    this.#client = client;
    this.#metadata = metadata;
  }

  /** Whether the server knows of this: `no` once it has said that it is older. */
  get served(): "yes" | "no" | "unknown" {
    return this.#served;
  }

  /** Has a task accepted, and follows it. Failures of the strand: as ExecuteTask and StreamTask, and see `isBeyondStrands`. */
  execute(request: MessageInitShape<typeof ExecuteTaskRequestSchema>): TaskStrand {
    const strand = this.#strand();
    strand.execute(request);
    return strand;
  }

  /** What a StreamTask of this task would be. Failures of the strand: as it, and see `isBeyondStrands`. */
  open(opening: MessageInitShape<typeof StrandOpeningSchema>): TaskStrand {
    const strand = this.#strand();
    strand.open(opening);
    return strand;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#streams].map((stream) => stream.close()));
  }

  #strand(): TaskStrand {
    if (this.#closed) throw closed();
    const metadata = this.#metadata();
    let stream = this.#stream;
    if (stream === undefined || stream.isOver || !Bun.deepEquals(stream.metadata, metadata)) {
      stream?.retire();
      stream = this.#openStream(metadata);
      this.#stream = stream;
    }
    return stream.strand();
  }

  #openStream(metadata: Readonly<Record<string, string>>): StrandStream {
    const stream: StrandStream = new StrandStream(this.#client, metadata, {
      served: (served) => {
        this.#served = served;
      },
      over: () => this.#streams.delete(stream),
    });
    this.#streams.add(stream);
    return stream;
  }
}

/** How many steps go into one message, and the bytes of data after which no more do. */
const STEPS = 64;
const MESSAGE_BYTES = 1024 * 1024;
/** The largest number that a strand can have. */
const LAST_NUMBER = 2_147_483_647;

/** Who is told of a stream. */
interface Told {
  /** Whether the server knows of them, once it has shown that. */
  readonly served: (served: "yes" | "no") => void;
  readonly over: () => void;
}

/** One StreamTasks. */
class StrandStream {
  readonly metadata: Readonly<Record<string, string>>;
  readonly #strands = new Map<number, TaskStrand>();
  readonly #over = new AbortController();
  readonly #reading: Promise<void>;
  #steps: { readonly step: Request; readonly bytes: number }[] = [];
  #isDue = false;
  #wake: (() => void) | undefined;
  /** Resolves when what waits now has been taken. */
  #taken = Promise.withResolvers<void>();
  #number = 0;
  #isOver = false;
  /** Whether nothing begins on it any more, so that it ends with its last strand. */
  #isRetired = false;

  constructor(client: Client, metadata: Readonly<Record<string, string>>, tell: Told) {
    this.metadata = metadata;
    this.#reading = this.#read(client, tell);
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** A new one, which is yet to begin. */
  strand(): TaskStrand {
    do this.#number = (this.#number % LAST_NUMBER) + 1;
    while (this.#strands.has(this.#number));
    const strand = this.#number;
    const fresh: TaskStrand = new TaskStrand((step, bytes) => {
      if (step.case === "execute" || step.case === "open") this.#strands.set(strand, fresh);
      return this.#say({ strand, step }, bytes);
    });
    return fresh;
  }

  /** Half-closes once all of its strands have ended. */
  retire(): void {
    this.#isRetired = true;
    this.#wake?.();
  }

  async close(): Promise<void> {
    this.#over.abort(closed());
    await this.#reading;
  }

  /** Never rejects: whatever it ends with, all strands end with. */
  async #read(client: Client, tell: Told): Promise<void> {
    let end: unknown = new Failure("unavailable", "Cannot go on with the strands: the server has ended them");
    try {
      const options = { metadata: this.metadata, signal: this.#over.signal };
      await using answers = client.agent.streamTasks(this.#requests(), options);
      await answers.started();
      tell.served("yes");
      for await (const { strands } of answers) {
        for (const { strand: number, step } of strands) {
          this.#strands.get(number)?.take(step);
          if (step.case === "end") this.#strands.delete(number);
        }
        if (this.#isRetired) this.#wake?.();
      }
    } catch (error) {
      end = error;
      if (Failure.from(error)?.kind === "unimplemented") tell.served("no");
    }
    this.#isOver = true;
    this.#taken.resolve();
    this.#wake?.();
    for (const strand of this.#strands.values()) strand.finish({ error: end });
    this.#strands.clear();
    tell.over();
  }

  async *#requests(): AsyncGenerator<{ readonly strands: Request[] }, void, undefined> {
    while (!this.#isOver) {
      const strands = this.#someSteps();
      if (strands.length > 0) {
        const taken = this.#taken;
        if (this.#steps.length === 0) this.#taken = Promise.withResolvers();
        if (this.#steps.length === 0) taken.resolve();
        yield { strands };
        continue;
      }
      if (this.#isRetired && this.#strands.size === 0) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #someSteps(): Request[] {
    let count = 0;
    for (let bytes = 0; count < Math.min(STEPS, this.#steps.length) && bytes < MESSAGE_BYTES; count += 1)
      bytes += this.#steps[count]?.bytes ?? 0;
    return this.#steps.splice(0, count).map(({ step }) => step);
  }

  /** Says it together with all else that is said in this turn of the event loop. Done when it is on its way. */
  #say(step: Request, bytes = 0): Promise<void> {
    if (this.#isOver) return Promise.resolve();
    this.#steps.push({ step, bytes });
    if (!this.#isDue) {
      this.#isDue = true;
      process.nextTick(() => {
        this.#isDue = false;
        this.#wake?.();
      });
    }
    return this.#taken.promise;
  }
}
