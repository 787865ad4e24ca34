import { afterAll } from "bun:test";
import { ensureImage } from "../../../scripts/image.ts";
import { type OwnEngine, startOwnEngine } from "../../../scripts/own-engine.ts";
import { PODMAN } from "../../../scripts/podman.ts";
import { toStderr } from "../../../scripts/progress.ts";
import { connectDocker } from "../../../src/runtime/docker/docker.ts";
import { runtimeContract } from "../../contract/runtime.ts";
import { SET_UP_MS } from "../../contract/runtime-subject.ts";

/** Kept from the first moment, so that it is ended also when it did not come up in time. */
let starting: Promise<OwnEngine> | undefined;

runtimeContract("connectDocker() of Podman", async () => {
  starting = startOwnEngine(PODMAN, toStderr);
  const podman = await starting;
  const image = await ensureImage(podman.dockerHost, "busybox", toStderr);
  return { runtime: connectDocker({ dockerHost: podman.dockerHost }), image };
});

afterAll(async () => await (await starting)?.[Symbol.asyncDispose](), SET_UP_MS);
