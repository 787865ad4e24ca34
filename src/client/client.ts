import { Health } from "../gen/grpc/health/v1/health_pb.ts";
import { AgentService } from "../gen/proto/agent/v1/agent_pb.ts";
import { GatewayService } from "../gen/proto/gateway/v1/gateway_pb.ts";
import { OrchestratorService } from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { type Calls, callsOf } from "./calls.ts";
import type { ClientOptions, Reconnect } from "./client-options.ts";
import { Transport } from "./transport.ts";

export type { ClientOptions };

/** The server's services as plain functions. Whatever they throw is a `Failure`. */
export interface Client extends AsyncDisposable {
  /** As in `ClientOptions`, in its full form. */
  readonly address: string;
  readonly orchestrator: Calls<typeof OrchestratorService>;
  readonly agent: Calls<typeof AgentService>;
  readonly gateway: Calls<typeof GatewayService>;
  readonly health: Calls<typeof Health>;
  /**
   * Waits until there is a connection, also for a server that is yet to start.
   *
   * Failures: UNAVAILABLE or PERMISSION_DENIED with the reason UNREACHABLE after `dialTimeoutMs`, saying what is in
   * the way; at once when the socket may not be opened by this user.
   */
  ready(signal?: AbortSignal): Promise<void>;
  /** Told of how often calls are repeated and streams resumed; `watch` follows it too. */
  readonly reconnect: Reconnect;
}

/**
 * A client of the server at `options.address`. Returns at once; the first call, or `ready()`, connects.
 *
 * Calls with one answer share a connection, and each stream has its own, so that a stream that is not read holds up
 * nobody. A call is repeated after a lost connection only when doing it twice is the same as doing it once: see
 * `isRepeatable`. Closing the client cancels what is still under way.
 *
 * Failures: INVALID_ARGUMENT when the address is none.
 *
 * @example
 * await using client = connect({ address: "unix:///tmp/baaaht-grpc.sock" });
 * const { sessionId } = await client.orchestrator.createSession({ metadata: { name: "build" } });
 *
 * await using events = client.orchestrator.subscribeEvents({ filter: { sessionId } });
 * await events.started(); // nothing that happens from now on is missed
 * for await (const event of events) console.log(event.type, event.data);
 */
export function connect(options: ClientOptions): Client {
  const transport = new Transport(options);
  return {
    address: transport.address.text,
    orchestrator: callsOf(OrchestratorService, transport),
    agent: callsOf(AgentService, transport),
    gateway: callsOf(GatewayService, transport),
    health: callsOf(Health, transport),
    reconnect: transport.reconnect,
    ready: (signal) => transport.ready(signal),
    [Symbol.asyncDispose]: async () => transport[Symbol.dispose](),
  };
}
