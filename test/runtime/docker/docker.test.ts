import { connectDocker } from "../../../src/runtime/docker/docker.ts";
import { runtimeContract } from "../../contract/runtime.ts";
import { engine } from "../../engine.ts";

runtimeContract("connectDocker()", async () => {
  const { dockerHost, image } = await engine();
  return { runtime: connectDocker({ dockerHost }), image };
});
