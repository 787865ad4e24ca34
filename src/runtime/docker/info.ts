import { z } from "zod";
import type { EngineInfo } from "../runtime.ts";
import type { Engine } from "./engine.ts";

export async function engineInfo(engine: Engine, signal: AbortSignal): Promise<EngineInfo> {
  const doing = "ask the container engine who it is";
  const [info, version] = await Promise.all([
    engine.call({ doing, method: "GET", path: "/info" }, Info, signal),
    engine.call({ doing, method: "GET", path: "/version" }, Version, signal),
  ]);
  return {
    name: version.Components.some(({ Name }) => /podman/i.test(Name)) ? "podman" : "docker",
    version: version.Version,
    apiVersion: version.ApiVersion,
    engineId: info.ID,
    cpus: info.NCPU,
    memoryBytes: info.MemTotal,
  };
}

const Info = z.object({ ID: z.string().default(""), NCPU: z.number(), MemTotal: z.number() });
const Version = z.object({
  Version: z.string(),
  ApiVersion: z.string(),
  Components: z.array(z.object({ Name: z.string() })).default([]),
});
