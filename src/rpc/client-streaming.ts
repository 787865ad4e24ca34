import type { ClientStreamingHandler } from "./handlers.ts";
import { type Answering, encodeAnswer, type Method } from "./method.ts";
import { Requests } from "./requests.ts";
import type { ServedCall } from "./served-call.ts";

/** Answers calls that have a stream of requests and one answer. */
export function answerClientStreaming(method: Method, handler: ClientStreamingHandler): Answering {
  async function answer(requests: Requests, call: ServedCall): Promise<void> {
    try {
      const bytes = encodeAnswer(method, await handler(requests, call));
      if (call.ended) return;
      call.send(bytes, ignore);
      call.succeed();
    } catch (error) {
      call.fail(error);
    } finally {
      await requests.return();
    }
  }

  return (wire) => wire.start(new Requests(wire, method, (requests, call) => void answer(requests, call)));
}

/** The status waits for the answer in HTTP/2 anyway. */
function ignore(): void {}
