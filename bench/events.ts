import { join } from "node:path";
import { toBinary } from "@bufbuild/protobuf";
import { HealthCheckRequestSchema } from "../src/gen/grpc/health/v1/health_pb.ts";
import {
  EventSchema,
  MessageRole,
  SendMessageRequestSchema,
  SendMessageResponseSchema,
  SubscribeEventsRequestSchema,
} from "../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { startServer, type TestServer } from "../test/server.ts";
import { type BareProgram, compileBare, startBare } from "./bare-program.ts";
import type { Quantiles, ReaderReport, ReaderTask } from "./event-reader.ts";
import type { Bench, Figure, Row } from "./figure.ts";
import { framed } from "./framed.ts";
import { ensureH2load, runLoad } from "./h2load.ts";
import type { Sample } from "./statistics.ts";

const subscribePath = "/proto.orchestrator.v1.OrchestratorService/SubscribeEvents";
const sendPath = "/proto.orchestrator.v1.OrchestratorService/SendMessage";
const readPath = "/grpc.health.v1.Health/Check";
const reader = [process.execPath, join(import.meta.dir, "event-reader.ts")];

/** How long an event takes to subscribers: to one, and to a thousand beside one that never reads. */
export const events: Figure = {
  name: "events",
  measure: async (bench) => {
    await ensureH2load(bench.progress);
    await using server = await startServer({ program: [bench.program] });
    const { sessionId } = await server.client.orchestrator.createSession({});
    const request = framed(SendMessageRequestSchema, {
      sessionId,
      message: { role: MessageRole.USER, content: "hello" },
    });
    const bareSocket = join(bench.folder, "fan-out.sock");
    const program = await compileBare("bare-fan-out", bench.folder);
    const sizes = await sizesOf(server, sessionId);
    await using _bare = await startBare([program, subscribePath, sendPath, bareSocket, ...sizes]);
    const sockets = { ours: server.socketPath, bare: bareSocket };
    const readRequest = framed(HealthCheckRequestSchema, {}).toString("base64");
    const one = await compare(bench, { sockets, request, readRequest, subscribers: 1 });
    const many = bench.length === "quick" ? 50 : 1_000;
    await using _stalled = await stalledReader({ bench, socketPath: server.socketPath, request });
    const crowd = await compare(bench, { sockets, request, readRequest, subscribers: many });
    return [...rowsOfOne(one), ...rowsOfMany(many.toLocaleString("en-US"), crowd)];
  },
};

interface Reports {
  readonly ours: ReaderReport;
  readonly bare: ReaderReport;
}

async function compare(
  bench: Bench,
  options: {
    readonly sockets: { readonly ours: string; readonly bare: string };
    readonly request: Buffer;
    readonly readRequest: string;
    readonly subscribers: number;
  },
): Promise<Reports> {
  const { sockets, request, readRequest, subscribers } = options;
  const full = subscribers === 1 ? 1_000 : 200;
  const task = {
    subscribePath,
    subscribeRequest: framed(SubscribeEventsRequestSchema, {}).toString("base64"),
    subscribers,
    connections: Math.min(subscribers, 10),
    sendPath,
    sendRequest: request.toString("base64"),
    messages: bench.length === "quick" ? 20 : full,
    pauseMs: subscribers === 1 ? 2 : 25,
  };
  const ours = await read({ ...task, socketPath: sockets.ours, readPath, readRequest });
  const bare = await read({ ...task, socketPath: sockets.bare, readPath: "", readRequest: "" });
  return { ours, bare };
}

async function read(task: ReaderTask): Promise<ReaderReport> {
  const child = Bun.spawn([...reader, JSON.stringify(task)], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "inherit",
  });
  const text = await new Response(child.stdout).text();
  if ((await child.exited) !== 0) throw new Error(`the reader of events ended with ${child.exitCode}`);
  return JSON.parse(text); // what event-reader.ts writes
}

/** A subscriber whose process stands still: it never reads, and all that the kernel and HTTP/2 keep for it is full. */
async function stalledReader(options: {
  readonly bench: Bench;
  readonly socketPath: string;
  readonly request: Buffer;
}): Promise<BareProgram> {
  const { bench, socketPath, request } = options;
  const task: ReaderTask = {
    socketPath,
    subscribePath,
    subscribeRequest: framed(SubscribeEventsRequestSchema, {}).toString("base64"),
    subscribers: 1,
    connections: 1,
    sendPath,
    sendRequest: "",
    readPath: "",
    readRequest: "",
    messages: 0,
    pauseMs: 0,
  };
  const stalled = await startBare([...reader, JSON.stringify(task)]);
  process.kill(stalled.pid, "SIGSTOP");
  const requestFile = join(bench.folder, "fill.request");
  await Bun.write(requestFile, request);
  // Far more than the window of 64 KB that the stream has, and the buffers of the socket.
  await runLoad({ socketPath, path: sendPath, requestFile, calls: 5_000, inFlight: 64 });
  return stalled;
}

/** The bytes of an event and of an answer as the server sends them. */
async function sizesOf({ client }: TestServer, sessionId: string): Promise<readonly string[]> {
  await using subscription = client.orchestrator.subscribeEvents({});
  await subscription.started();
  const answer = await client.orchestrator.sendMessage({
    sessionId,
    message: { role: MessageRole.USER, content: "hello" },
  });
  const { value } = await subscription[Symbol.asyncIterator]().next();
  if (value === undefined) throw new Error("the subscription ended without an event");
  return [toBinary(EventSchema, value), toBinary(SendMessageResponseSchema, answer)].map(({ length }) =>
    String(length),
  );
}

/**
 * The bare thing commits nothing, so what it takes from the sending of a message to its event stands beside what ours
 * takes from the commit: both hold one way of a request and one of an event.
 */
function rowsOfOne({ ours, bare }: Reports): readonly Row[] {
  return (["p50", "p99"] as const).map((quantile) => ({
    what: `commit to event, 1 subscriber, ${quantile}`,
    unit: "ms",
    ours: sampleAt(ours.fromCommit, quantile),
    bare: { what: "grpc-js fan-out", sample: sampleAt(bare.fromSending, quantile) },
    ratio: ours.fromCommit[quantile] / bare.fromSending[quantile],
    target: { of: "ours", is: "below", value: quantile === "p50" ? 1 : 50 } as const,
  }));
}

/** From the sending, so that the commit is in it: an answer may leave in the middle of so many events. */
function rowsOfMany(subscribers: string, { ours, bare }: Reports): readonly Row[] {
  return (["p50", "p99"] as const).map((quantile) => ({
    what: `sending to event, ${subscribers} subscribers and 1 stalled, ${quantile}`,
    unit: "ms",
    ours: sampleAt(ours.fromSending, quantile),
    bare: { what: "grpc-js fan-out", sample: sampleAt(bare.fromSending, quantile) },
    ratio: ours.fromSending[quantile] / bare.fromSending[quantile],
    target: quantile === "p50" ? { of: "none" } : { of: "ours", is: "below", value: 50 },
  }));
}

/** One quantile as what is judged, with the least and the most beside it. */
function sampleAt(quantiles: Quantiles, which: "p50" | "p99"): Sample {
  return { median: quantiles[which], min: quantiles.min, max: quantiles.max, count: quantiles.count };
}
