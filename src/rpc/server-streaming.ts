import type { ServerStreamingHandler } from "./handlers.ts";
import type { Answering, Method } from "./method.ts";
import { respondWithAll } from "./responses.ts";
import { SingleRequest } from "./single-request.ts";

/** Answers calls that have one request and a stream of answers. */
export function answerServerStreaming(method: Method, handler: ServerStreamingHandler): Answering {
  return (wire) =>
    wire.start(
      new SingleRequest(wire, method, (request, call) => {
        call.watch();
        void respondWithAll({ method, call, answers: () => handler(request, call) });
      }),
    );
}
