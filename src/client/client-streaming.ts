import type { DescMessage, DescMethod, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { Failure } from "../failure.ts";
import { AnswerStream } from "./answers.ts";
import type { CallOptions } from "./call-options.ts";
import type { Transport } from "./transport.ts";

/** Many requests, one answer. */
export async function streamOnce(
  transport: Transport,
  method: DescMethod,
  call: { readonly requests: AsyncIterable<MessageInitShape<DescMessage>>; readonly options: CallOptions },
): Promise<MessageShape<DescMessage>> {
  const answers = new AnswerStream(transport, method, call);
  let answer: MessageShape<DescMessage> | undefined;
  for await (const message of answers) answer = message; // to the end, so that a status other than OK is seen
  if (answer === undefined)
    throw new Failure("internal", `Cannot finish ${method.name}: the server sent no answer`);
  return answer;
}
