import { connectDocker } from "../../../src/runtime/docker/docker.ts";
import { runtimeContract } from "../../contract/runtime.ts";
import { engine } from "../../engine.ts";
import { initFile, untilInitRuns } from "../../init.ts";

runtimeContract("connectDocker() with the init", async () => {
  const { dockerHost, image } = await engine();
  const runtime = connectDocker({ dockerHost, initFile: initFile() });
  return { runtime, image, readyForCommands: (id) => untilInitRuns(runtime, id) };
});
