import { type Client, connect } from "../../src/client/client.ts";
import { Failure } from "../../src/failure.ts";
import { GatewayMessageRole, type StreamState } from "../../src/gen/proto/gateway/v1/gateway_pb.ts";
import { openChat } from "../chat/open-chat.ts";
import { seeded } from "./random.ts";

// A caller in a process of its own: asks in two sessions, one question after the other, and says what it was told.
// Words: the server's socket, a name that no other one has, a seed.

/** What a caller says of a question, before it asks and when it knows more. */
export type CallerReport =
  | { readonly kind: "asking" | "stored"; readonly sessionId: string; readonly id: string }
  | {
      readonly kind: "ended";
      readonly sessionId: string;
      readonly id: string;
      readonly state: StreamState;
      readonly text: string;
    };

const [socketPath = "", name = "", seed = ""] = process.argv.slice(2);

if (import.meta.main) {
  const client = connect({ address: `unix://${socketPath}`, reconnectIntervalMs: 50, dialTimeoutMs: 60_000 });
  await Promise.all(["a", "b"].map((which) => converse(client, `${name}${which}`)));
}

async function converse(client: Client, own: string): Promise<void> {
  const random = seeded(Number(seed) + own.length);
  const { sessionId } = await untilDone(() => client.gateway.createGatewaySession({ idempotencyKey: own }));
  for (let count = 0; ; count += 1) {
    const id = `${own}-${count}`;
    report({ kind: "asking", sessionId, id });
    // The same id again after every failure: it has to be one question all the same.
    await untilDone(() => (random.next() < 0.4 ? send(client, sessionId, id) : chat(client, sessionId, id)));
  }
}

async function send(client: Client, sessionId: string, id: string): Promise<void> {
  const message = { id, role: GatewayMessageRole.USER, content: id };
  await client.gateway.gatewaySendMessage({ sessionId, message });
  report({ kind: "stored", sessionId, id });
}

async function chat(client: Client, sessionId: string, id: string): Promise<void> {
  await using stream = await openChat(client, sessionId);
  stream.ask(id, id);
  const { text, status } = await stream.turn();
  report({ kind: "ended", sessionId, id, state: status.state, text });
}

async function untilDone<Result>(act: () => Promise<Result>): Promise<Result> {
  for (;;) {
    try {
      return await act();
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      await Bun.sleep(30);
    }
  }
}

function report(what: CallerReport): void {
  process.send?.(what);
}
