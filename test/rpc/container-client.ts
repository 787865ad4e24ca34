import type { MessageInitShape } from "@bufbuild/protobuf";
import type { CallOptions } from "../../src/client/call-options.ts";
import type { Client } from "../../src/client/client.ts";
import type {
  AttachExecRequestSchema,
  AttachStartSchema,
  ContainerConfigSchema,
  Event,
  EventType,
  ExecContainerRequestSchema,
  ExecContainerResponse,
  ExecEnd,
  ExecStartSchema,
} from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { cleared } from "../daemon/engine-containers.ts";
import { engine } from "../engine.ts";
import { type ServerOptions, startServer, type TestServer } from "../server.ts";

/** Until it is told to end. It waits, and starts nothing again and again: many of these are there at once. */
const FOREVER = ["sh", "-c", "trap 'exit 7' TERM; sleep 100000 & wait"];

export type ExecFrame = MessageInitShape<typeof ExecContainerRequestSchema>;
export type AttachFrame = MessageInitShape<typeof AttachExecRequestSchema>;
export type ExecStartInit = Omit<MessageInitShape<typeof ExecStartSchema>, "$typeName" | "containerId">;

/** A real server on the real engine, with a session. What it makes is removed with it. */
export interface ContainerServer extends AsyncDisposable {
  readonly server: TestServer;
  readonly client: Client;
  readonly sessionId: string;
  readonly image: string;
  readonly dockerHost: string;
  create(config?: MessageInitShape<typeof ContainerConfigSchema>): Promise<string>;
}

export async function containerServer(options: ServerOptions = {}): Promise<ContainerServer> {
  const { dockerHost, image } = await engine();
  const server = await startServer({ dockerHost, ...options });
  const { client } = server;
  const { sessionId } = await client.orchestrator.createSession({ config: { maxContainers: 100 } });
  return {
    server,
    client,
    sessionId,
    image,
    dockerHost,
    create: async (config = {}) => {
      const wanted = { image, command: FOREVER, ...config };
      const request = { sessionId, config: wanted };
      return (await client.orchestrator.createContainer(request, { timeoutMs: 30_000 })).containerId;
    },
    [Symbol.asyncDispose]: async () => {
      // By the server, which shows that it can; by the engine where the test has left no server that could.
      await using _cleared = cleared(dockerHost, () => sessionId);
      await server
        .connect()
        .orchestrator.closeSession({ sessionId }, { timeoutMs: 30_000 })
        .catch(() => {});
      await server[Symbol.asyncDispose]();
    },
  };
}

/** What came of a command. */
export interface ExecOutcome {
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  readonly ends: readonly ExecEnd[];
  /** The payloads' names in order, runs of output counted once. */
  readonly order: readonly string[];
  readonly execId: string;
}

/** Waits until the command's stdout holds these words. */
export type Heard = (words: string) => Promise<void>;

interface Streaming<Frame> {
  readonly input?: (heard: Heard) => AsyncIterable<Frame>;
  readonly options?: CallOptions;
  readonly frames?: ExecContainerResponse[];
}

/** Runs a command over the wire to the end of its call; throws what the call ends with. */
export async function exec(
  client: Client,
  start: ExecStartInit & { readonly containerId: string },
  more: Streaming<ExecFrame> = {},
): Promise<ExecOutcome> {
  const first: ExecFrame = { payload: { case: "start", value: start } };
  return await streamed(first, more, (requests) => client.orchestrator.execContainer(requests, more.options));
}

/** Joins a command over the wire, to the end of the call; throws what that ends with. */
export async function attach(
  client: Client,
  start: MessageInitShape<typeof AttachStartSchema>,
  more: Streaming<AttachFrame> = {},
): Promise<ExecOutcome> {
  const first: AttachFrame = { payload: { case: "start", value: start } };
  return await streamed(first, more, (requests) => client.orchestrator.attachExec(requests, more.options));
}

async function streamed<Frame>(
  first: Frame,
  more: Streaming<Frame>,
  open: (requests: AsyncIterable<Frame>) => AsyncIterable<ExecContainerResponse>,
): Promise<ExecOutcome> {
  const frames = more.frames ?? [];
  let said = "";
  let word = Promise.withResolvers<void>();
  const heard: Heard = async (words) => {
    while (!said.includes(words)) await word.promise;
  };
  async function* requests(): AsyncGenerator<Frame> {
    yield first;
    yield* more.input?.(heard) ?? [];
  }
  for await (const frame of open(requests())) {
    frames.push(frame);
    if (frame.payload.case === "stdout" && said.length < 1_000_000) {
      said += Buffer.from(frame.payload.value).toString("latin1");
      word.resolve();
      word = Promise.withResolvers();
    }
  }
  return outcome(frames);
}

export function outcome(frames: readonly ExecContainerResponse[]): ExecOutcome {
  const bytes = (name: "stdout" | "stderr") =>
    Buffer.concat(frames.flatMap(({ payload }) => (payload.case === name ? [payload.value] : [])));
  const names = frames.map(({ payload }) => payload.case ?? "");
  const started = frames.find(({ payload }) => payload.case === "started");
  return {
    stdout: bytes("stdout"),
    stderr: bytes("stderr"),
    ends: frames.flatMap(({ payload }) => (payload.case === "end" ? [payload.value] : [])),
    order: names.filter((name, at) => name !== names[at - 1]),
    execId: started?.payload.case === "started" ? started.payload.value.execId : "",
  };
}

/** The first event of the log that fits. */
export async function eventOf(
  client: Client,
  type: EventType,
  fits: (event: Event) => boolean,
): Promise<Event> {
  const request = { fromStart: true, filter: { types: [type] } };
  await using events = client.orchestrator.subscribeEvents(request, { timeoutMs: 30_000 });
  for await (const event of events) if (fits(event)) return event;
  throw new Error("the log ended");
}

/** The server's resident memory, in MiB. */
export async function residentMiB(pid: number): Promise<number> {
  const status = await Bun.file(`/proc/${pid}/status`).text();
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? Number.NaN) / 1024;
}
