import {
  create,
  type DescMessage,
  type DescMethod,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import { status } from "@grpc/grpc-js";
import { abortFailure, Failure } from "../failure.ts";
import { pause } from "./backoff.ts";
import type { CallOptions } from "./call-options.ts";
import { headersOf } from "./headers.ts";
import { decodeAnswer, encodeRequest, pathOf } from "./message-bytes.ts";
import { isRepeatable, repetitionMs } from "./retry.ts";
import { failureOf } from "./status-failure.ts";
import type { Transport } from "./transport.ts";

/** One request, one answer; sent again when that is safe and the connection was lost. */
export async function unary(
  transport: Transport,
  method: DescMethod,
  { request, options }: { readonly request: MessageInitShape<DescMessage>; readonly options: CallOptions },
): Promise<MessageShape<DescMessage>> {
  const message = create(method.input, request);
  const bytes = encodeRequest(method, message);
  const timeoutMs = transport.timeoutMs(method, options);
  const deadline = Date.now() + timeoutMs;
  for (let failures = 1; ; failures += 1) {
    await transport.up(transport.shared, { deadline, options });
    try {
      return decodeAnswer(method, await attempt(transport, method, { bytes, deadline, timeoutMs, options }));
    } catch (error) {
      const failure = Failure.from(error);
      if (failure === undefined || !isRepeatable(method, message)) throw error;
      const ms = repetitionMs(failure, { failures, reconnect: transport.reconnect, random: Math.random() });
      if (ms === undefined || Date.now() + ms >= deadline) throw error;
      await pause(ms, options.signal);
    }
  }
}

function attempt(
  transport: Transport,
  method: DescMethod,
  {
    bytes,
    deadline,
    timeoutMs,
    options,
  }: {
    readonly bytes: Buffer;
    readonly deadline: number;
    /** Of the call as a whole, repetitions included, as it was asked for. */
    readonly timeoutMs: number;
    readonly options: CallOptions;
  },
): Promise<Buffer> {
  const { signal } = options;
  if (signal?.aborted) return Promise.reject(abortFailure(signal));
  return new Promise((resolve, reject) => {
    const call = transport.shared.channel.createCall(pathOf(method), deadline, null, null, null);
    const underWay = {
      cancel(reason: Failure) {
        leave();
        reject(reason);
        call.cancelWithStatus(status.CANCELLED, reason.message);
      },
    };
    const abort = () => signal !== undefined && underWay.cancel(abortFailure(signal));
    const leave = () => {
      transport.leave(underWay);
      signal?.removeEventListener("abort", abort);
    };
    transport.enter(underWay);
    signal?.addEventListener("abort", abort, { once: true });
    let answer: Buffer | undefined;
    call.start(transport.metadata(options), {
      onReceiveMetadata: (metadata) => options.onHeaders?.(headersOf(metadata)),
      onReceiveMessage: (message: Buffer) => {
        answer = message;
      },
      onReceiveStatus: (end) => {
        leave();
        options.onTrailers?.(headersOf(end.metadata));
        if (end.code !== status.OK) {
          reject(failureOf(end, { method: method.name, address: transport.address, timeoutMs }));
        } else if (answer === undefined) {
          reject(new Failure("internal", `Cannot finish ${method.name}: the server sent no answer`));
        } else resolve(answer);
      },
    });
    call.startRead();
    call.sendMessageWithContext({}, bytes);
    call.halfClose();
  });
}
