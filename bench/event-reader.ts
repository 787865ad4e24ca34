import type { ClientHttp2Session } from "node:http2";
import { FrameCounter } from "./framed.ts";
import { callRaw, connectRaw, openCall } from "./raw-http2.ts";
import { median, percentile, sampleOf } from "./statistics.ts";

/** What a reader of events is told, as its first word, in JSON. Requests are base64 of what `framed` makes. */
export interface ReaderTask {
  readonly socketPath: string;
  readonly subscribePath: string;
  readonly subscribeRequest: string;
  readonly subscribers: number;
  readonly connections: number;
  readonly sendPath: string;
  readonly sendRequest: string;
  /** A call that writes nothing; what its round trip takes bounds the way of an answer. Empty: none. */
  readonly readPath: string;
  readonly readRequest: string;
  /** 0: subscribes, says `ready`, and does nothing more. */
  readonly messages: number;
  /** Between two messages, in milliseconds. */
  readonly pauseMs: number;
}

/** What it answers, as a line of JSON. Times in milliseconds. */
export interface ReaderReport {
  /** From the sending of a message to its event, over all messages and subscribers. */
  readonly fromSending: Quantiles;
  /** From the sending of a message to its answer, which leaves after the commit. */
  readonly untilAnswer: Quantiles;
  /**
   * From the commit to the event, at most: from the message's answer to its event, and a round trip of the call that
   * writes nothing, which is more than the answer's way from the commit to here.
   */
  readonly fromCommit: Quantiles;
}

export interface Quantiles {
  readonly p50: number;
  readonly p99: number;
  readonly min: number;
  readonly max: number;
  readonly count: number;
}

async function main(task: ReaderTask): Promise<void> {
  const arrivals = new Arrivals(task.subscribers);
  const subscribe = Buffer.from(task.subscribeRequest, "base64");
  const sessions = await Promise.all(
    Array.from({ length: task.connections }, () => connectRaw(task.socketPath)),
  );
  await Promise.all(
    Array.from({ length: task.subscribers }, (_, index) => {
      const session = sessions[index % sessions.length];
      if (session === undefined) throw new Error("there is no connection");
      return subscribed(openCall(session, task.subscribePath, subscribe), () => arrivals.note());
    }),
  );
  if (task.messages === 0) {
    process.stdout.write("ready\n");
    return;
  }
  const report = await measure(await connectRaw(task.socketPath), arrivals, task);
  process.stdout.write(`${JSON.stringify(report)}\n`);
  process.exit(0);
}

/** Resolves when the subscription is in force. */
function subscribed(stream: ReturnType<typeof openCall>, onEvent: () => void): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const events = new FrameCounter();
  stream.once("response", () => resolve());
  stream.on("data", (bytes: Buffer) => {
    for (let count = events.take(bytes); count > 0; count -= 1) onEvent();
  });
  stream.once("error", reject);
  return promise;
}

async function measure(
  sender: ClientHttp2Session,
  arrivals: Arrivals,
  task: ReaderTask,
): Promise<ReaderReport> {
  const request = Buffer.from(task.sendRequest, "base64");
  const fromSending: number[] = [];
  const untilAnswer: number[] = [];
  const fromAnswer: number[] = [];
  const roundTrips: number[] = [];
  const warmUp = 20;
  for (let message = 0; message < warmUp + task.messages; message += 1) {
    const all = arrivals.expect();
    const sentAt = performance.now();
    const answered = callRaw(sender, task.sendPath, request).then(() => performance.now());
    const [answeredAt, times] = await Promise.all([answered, all]);
    if (message >= warmUp) {
      untilAnswer.push(answeredAt - sentAt);
      for (const time of times) {
        fromSending.push(time - sentAt);
        fromAnswer.push(time - answeredAt);
      }
      roundTrips.push(await roundTrip(sender, task));
    }
    await Bun.sleep(task.pauseMs);
  }
  const tripMs = median(roundTrips);
  return {
    fromSending: quantiles(fromSending),
    untilAnswer: quantiles(untilAnswer),
    fromCommit: quantiles(fromAnswer.map((time) => time + tripMs)),
  };
}

async function roundTrip(session: ClientHttp2Session, task: ReaderTask): Promise<number> {
  if (task.readPath === "") return 0;
  const begin = performance.now();
  await callRaw(session, task.readPath, Buffer.from(task.readRequest, "base64"));
  return performance.now() - begin;
}

/** When each subscriber got the event of the message that is under way: one message at a time, so each gets one. */
class Arrivals {
  readonly #subscribers: number;
  #times: number[] = [];
  #all = Promise.withResolvers<readonly number[]>();

  constructor(subscribers: number) {
    this.#subscribers = subscribers;
  }

  expect(): Promise<readonly number[]> {
    this.#times = [];
    this.#all = Promise.withResolvers();
    return this.#all.promise;
  }

  note(): void {
    this.#times.push(performance.now());
    if (this.#times.length === this.#subscribers) this.#all.resolve(this.#times);
  }
}

function quantiles(values: readonly number[]): Quantiles {
  const { min, max, count } = sampleOf(values);
  return { p50: median(values), p99: percentile(values, 99), min, max, count };
}

if (import.meta.main) await main(JSON.parse(process.argv[2] ?? "{}")); // ReaderTask, by the one program that starts it
