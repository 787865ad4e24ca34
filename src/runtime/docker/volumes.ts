import { z } from "zod";
import { Failure } from "../../failure.ts";
import type { VolumeFacts, Volumes } from "../runtime.ts";
import type { Engine } from "./engine.ts";
import { labelFilter } from "./label-filter.ts";

export function dockerVolumes(engine: Engine): Volumes {
  return {
    create: async (spec, signal) => {
      const request = {
        doing: `create volume "${spec.name}"`,
        method: "POST",
        path: "/volumes/create",
        body: { Name: spec.name, Labels: spec.labels },
      } as const;
      return factsOf(await engine.call(request, Volume, signal));
    },
    list: async (labels, signal) => {
      const request = {
        doing: "list volumes",
        method: "GET",
        path: "/volumes",
        query: { filters: JSON.stringify({ label: labelFilter(labels) }) },
      } as const;
      const { Volumes: found } = await engine.call(request, Found, signal);
      return (found ?? []).map(factsOf);
    },
    remove: (name, signal) => removeVolume(engine, name, signal),
  };
}

async function removeVolume(engine: Engine, name: string, signal: AbortSignal): Promise<void> {
  try {
    const path = `/volumes/${encodeURIComponent(name)}`;
    await engine.act({ doing: `remove volume "${name}"`, method: "DELETE", path }, signal);
  } catch (error) {
    if (!(error instanceof Failure && error.kind === "not_found")) throw error;
  }
}

const Volume = z.object({ Name: z.string(), Labels: z.record(z.string(), z.string()).nullish() });
const Found = z.object({ Volumes: z.array(Volume).nullish() });

function factsOf({ Name, Labels }: z.infer<typeof Volume>): VolumeFacts {
  return { name: Name, labels: Labels ?? {} };
}
