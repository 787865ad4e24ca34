import type { Images } from "../containers/images.ts";
import type { OrchestratorService } from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import type { SessionId } from "../sessions/session.ts";
import { askedBy } from "./asked-by.ts";
import type { Handlers } from "./handlers.ts";
import { requiredId } from "./wire-values.ts";

/** OrchestratorService's call that fetches an image. */
export function imageCalls(images: Images): Handlers<typeof OrchestratorService> {
  return {
    pullImage: async function* ({ image, sessionId }, call) {
      const pulling = {
        image,
        sessionId: sessionId === "" ? undefined : requiredId<SessionId>(sessionId, "session_id"),
      };
      const progress = await images.pull(pulling, askedBy(call));
      call.open();
      for await (const step of progress) {
        if (step.kind === "pulled") {
          yield { status: "Pulled", digest: step.digest, imageId: step.imageId };
        } else {
          const { status, layer, currentBytes, totalBytes } = step;
          yield { status, layer, currentBytes: BigInt(currentBytes), totalBytes: BigInt(totalBytes) };
        }
      }
    },
  };
}
