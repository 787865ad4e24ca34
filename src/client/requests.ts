import { create, type DescMessage, type DescMethod, type MessageInitShape } from "@bufbuild/protobuf";
import { encodeRequest } from "./message-bytes.ts";
import type { WireStream } from "./wire-stream.ts";

/**
 * Sends `requests` as fast as the server takes them, then half-closes. Returns when they are sent or the call has ended,
 * whichever is first; then `requests` are told that no more are wanted. An error that they throw cancels the call and is
 * what its reader gets. Throws nothing.
 */
export async function sendAll(
  wire: WireStream,
  method: DescMethod,
  requests: AsyncIterable<MessageInitShape<DescMessage>>,
): Promise<void> {
  const iterator = requests[Symbol.asyncIterator]();
  try {
    for (;;) {
      const step = await nextUntilEnd(iterator, wire);
      if (step === undefined) return abandon(iterator);
      if (step.done) return wire.halfClose();
      await wire.write(encodeRequest(method, create(method.input, step.value)));
    }
  } catch (error) {
    wire.cancel(error);
    abandon(iterator);
  }
}

/** `undefined` when the call ends first. */
function nextUntilEnd<T>(
  iterator: AsyncIterator<T>,
  wire: WireStream,
): Promise<IteratorResult<T> | undefined> {
  return new Promise((resolve, reject) => {
    if (wire.ended) return resolve(undefined);
    // One listener that is replaced: racing each step against one promise of the end would hold on to all of them.
    wire.onEnd = () => resolve(undefined);
    iterator.next().then(resolve, reject);
  });
}

/** Not waited for: an iterator that waits for its next value returns only when it has one. */
function abandon(iterator: AsyncIterator<unknown>): void {
  iterator.return?.().catch(() => {}); // nobody is left who could be told
}
