import { afterAll } from "bun:test";
import { ensureImage } from "../../../scripts/image.ts";
import { type OwnEngine, startOwnEngine } from "../../../scripts/own-engine.ts";
import { PODMAN } from "../../../scripts/podman.ts";
import { toStderr } from "../../../scripts/progress.ts";
import { connectDocker } from "../../../src/runtime/docker/docker.ts";
import { runtimeContract } from "../../contract/runtime.ts";
import { SET_UP_MS } from "../../contract/runtime-subject.ts";

let podman: OwnEngine | undefined;

runtimeContract("connectDocker() of Podman", async () => {
  podman = await startOwnEngine(PODMAN, toStderr);
  const image = await ensureImage(podman.dockerHost, "busybox", toStderr);
  return { runtime: connectDocker({ dockerHost: podman.dockerHost }), image };
});

afterAll(() => podman?.[Symbol.asyncDispose](), SET_UP_MS);
