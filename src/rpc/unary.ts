import type { Answer, UnaryHandler } from "./handlers.ts";
import { type Answering, encodeAnswer, type Method } from "./method.ts";
import type { ServedCall } from "./served-call.ts";
import { SingleRequest } from "./single-request.ts";

/** Answers calls that have one request and one answer. */
export function answerUnary(method: Method, handler: UnaryHandler): Answering {
  function answer(request: Parameters<UnaryHandler>[0], call: ServedCall): void {
    const answered = handler(request, call);
    if (answered instanceof Promise) {
      answered.then(
        (value) => respond(value, call),
        (error: unknown) => call.fail(error),
      );
    } else {
      respond(answered, call);
    }
  }

  function respond(value: Answer, call: ServedCall): void {
    if (call.ended) return;
    try {
      method.edge.departures.send(call, encodeAnswer(method, value));
    } catch (error) {
      call.fail(error);
    }
  }

  return (wire) => wire.start(new SingleRequest(wire, method, answer));
}
