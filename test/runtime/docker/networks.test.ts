import { expect, test } from "bun:test";
import { connectDocker } from "../../../src/runtime/docker/docker.ts";
import { failure, soon } from "../../contract/runtime-subject.ts";
import { stubEngine } from "./stub-engine.ts";

const spec = { name: "one", labels: {} };

test.each([
  [
    404,
    "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network",
  ],
  [400, "all predefined address pools have been fully subnetted"],
])(
  "networks.create() is RESOURCE_EXHAUSTED when the engine has no addresses left: %i",
  async (status, message) => {
    await using engine = await stubEngine({
      "/networks/create": { status, body: JSON.stringify({ message }) },
    });
    await using runtime = connectDocker({ dockerHost: engine.dockerHost });
    const refused = await failure(runtime.networks.create(spec, soon()));
    expect(refused.kind).toBe("resource_exhausted");
    expect(refused.message).toBe(`Cannot create network "one": ${message}`);
  },
);
