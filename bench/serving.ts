import { HealthCheckRequestSchema } from "../src/gen/grpc/health/v1/health_pb.ts";
import { framed } from "./framed.ts";
import { callRaw, connectRaw } from "./raw-http2.ts";

/** Resolves when a first Health/Check is answered on the socket; asks every millisecond. */
export async function untilServing(socketPath: string, path = "/grpc.health.v1.Health/Check"): Promise<void> {
  const request = framed(HealthCheckRequestSchema, {});
  const giveUpAt = performance.now() + giveUpMs;
  for (;;) {
    try {
      const session = await connectRaw(socketPath);
      await callRaw(session, path, request);
      session.close();
      return;
    } catch (error) {
      // From outside there is nothing to wait for but an answer.
      if (performance.now() > giveUpAt) throw error;
      await Bun.sleep(1);
    }
  }
}

const giveUpMs = 30_000;
