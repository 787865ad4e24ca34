import { z } from "zod";
import type { EngineInfo } from "../runtime.ts";
import { EngineSaid } from "./dialect.ts";
import type { Engine } from "./engine.ts";

export async function engineInfo(engine: Engine, signal: AbortSignal): Promise<EngineInfo> {
  const doing = "ask the container engine who it is";
  const [dialect, info, version] = await Promise.all([
    engine.dialect(doing, signal),
    engine.call({ doing, method: "GET", path: "/info" }, Info, signal),
    engine.call({ doing, method: "GET", path: "/version" }, Version, signal),
  ]);
  return {
    name: dialect.name,
    version: version.Version,
    apiVersion: version.ApiVersion,
    engineId: dialect.engineId(info),
    cpus: info.NCPU,
    memoryBytes: info.MemTotal,
    capabilities: dialect.capabilities,
  };
}

const Info = EngineSaid.extend({ NCPU: z.number(), MemTotal: z.number() });
const Version = z.object({ Version: z.string(), ApiVersion: z.string() });
