import type { BidiStreamingHandler } from "./handlers.ts";
import type { Answering, Method } from "./method.ts";
import { Requests } from "./requests.ts";
import { respondWithAll } from "./responses.ts";
import type { ServedCall } from "./served-call.ts";

/** Answers calls that have a stream of requests and a stream of answers. */
export function answerBidiStreaming(method: Method, handler: BidiStreamingHandler): Answering {
  async function answer(requests: Requests, call: ServedCall): Promise<void> {
    await respondWithAll({ method, call, answers: () => handler(requests, call) });
    await requests.return();
  }

  return (wire) => wire.start(new Requests(wire, method, (requests, call) => void answer(requests, call)));
}
