import type { ContainerId } from "../containers/container.ts";
import type { Copies } from "../containers/copies.ts";
import { invalid } from "../failure.ts";
import { gathered } from "../gathered.ts";
import {
  type CopyToContainerRequest,
  type OrchestratorService,
  PathKind,
} from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import type { PathStat } from "../runtime/runtime.ts";
import { askedBy } from "./asked-by.ts";
import type { Handlers } from "./handlers.ts";
import { requiredId, timestamp } from "./wire-values.ts";

/** How much of an archive goes into one frame: the engine's pieces are so small that the frames would cost more than they. */
const frameBytes = 512 * 1024;

/** OrchestratorService's calls that copy files into containers and out of them. */
export function copyCalls(copies: Copies): Handlers<typeof OrchestratorService> {
  return {
    statContainerPath: async ({ containerId, path }, call) => {
      const id = requiredId<ContainerId>(containerId, "container_id");
      return { stat: toWireStat(await copies.stat({ containerId: id, path, field: "path" }, askedBy(call))) };
    },

    copyToContainer: async (requests, call) => {
      const frames = requests[Symbol.asyncIterator]();
      const first = await frames.next();
      const payload = first.done ? undefined : first.value.payload;
      if (payload?.case !== "start") {
        throw invalid("copy files into a container", [
          { field: "start", description: "is missing; it has to be the first frame" },
        ]);
      }
      const { path, overwrite } = payload.value;
      const containerId = requiredId<ContainerId>(payload.value.containerId, "start.container_id");
      const place = {
        containerId,
        path,
        field: "start.path",
        overwrite: overwrite ? "anything" : "same_kind",
      } as const;
      const archive = dataOf({ [Symbol.asyncIterator]: () => frames });
      return { bytesWritten: BigInt(await copies.copyIn(place, archive, askedBy(call))) };
    },

    copyFromContainer: async function* ({ containerId, path }, call) {
      const id = requiredId<ContainerId>(containerId, "container_id");
      const { stat, archive } = await copies.copyOut({ containerId: id, path, field: "path" }, askedBy(call));
      yield { stat: toWireStat(stat) };
      for await (const data of gathered(archive, frameBytes)) yield { data };
    },
  };
}

async function* dataOf(
  frames: AsyncIterable<CopyToContainerRequest>,
): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const { payload } of frames) {
    if (payload.case === "data") yield payload.value;
    else {
      throw invalid("copy files into a container", [
        { field: payload.case ?? "data", description: "came after the first frame; only data may follow it" },
      ]);
    }
  }
}

const kinds: Readonly<Record<PathStat["kind"], PathKind>> = {
  file: PathKind.FILE,
  folder: PathKind.FOLDER,
  link: PathKind.LINK,
  other: PathKind.OTHER,
};

function toWireStat({ name, kind, size, mode, modifiedAt, linkTarget }: PathStat) {
  return { name, kind: kinds[kind], size: BigInt(size), mode, modifiedAt: timestamp(modifiedAt), linkTarget };
}
