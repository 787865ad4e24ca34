import type { Runtime, RuntimeHost } from "../runtime.ts";
import { attachContainer } from "./attach.ts";
import { type Endpoint, type EndpointOptions, findEndpoint } from "./endpoint.ts";
import { Engine } from "./engine.ts";
import { startExec } from "./exec.ts";
import { inspectContainer, listContainers, portHolders } from "./facts.ts";
import { imageDigest, pullImage } from "./images.ts";
import { engineInfo } from "./info.ts";
import {
  createContainer,
  killContainer,
  pauseContainer,
  removeContainer,
  resumeContainer,
  startContainer,
  stopContainer,
} from "./lifecycle.ts";
import { containerLogs } from "./logs.ts";
import { dockerNetworks } from "./networks.ts";
import { readStats } from "./stats.ts";
import { dockerVolumes } from "./volumes.ts";
import { watchContainers } from "./watch.ts";

/**
 * The container runtime over a Docker engine. Nothing is sent until something is asked, so the engine need not be up.
 *
 * @example
 * await using runtime = connectDocker({ dockerHost: "unix:///var/run/docker.sock" });
 * const { version } = await runtime.info(AbortSignal.timeout(5_000));
 *
 * @throws Failure invalid_argument when the endpoint is not one, or its certificates can't be read.
 */
export function connectDocker(options: EndpointOptions = {}): Runtime {
  const engine = new Engine(() => findEndpoint(options));
  return {
    get endpoint() {
      return engine.endpoint.name;
    },
    get host() {
      return hostOf(engine.endpoint);
    },
    networks: dockerNetworks(engine),
    volumes: dockerVolumes(engine),
    info: (signal) => engineInfo(engine, signal),
    imageDigest: (image, signal) => imageDigest(engine, image, signal),
    pull: (image, signal) => pullImage(engine, image, signal),
    create: (spec, signal) => createContainer(engine, spec, signal),
    start: (id, signal) => startContainer(engine, id, signal),
    stop: (id, stop, signal) => stopContainer(engine, id, stop, signal),
    kill: (id, kill, signal) => killContainer(engine, id, kill, signal),
    pause: (id, signal) => pauseContainer(engine, id, signal),
    resume: (id, signal) => resumeContainer(engine, id, signal),
    remove: (id, signal) => removeContainer(engine, id, signal),
    inspect: (id, signal) => inspectContainer(engine, id, signal),
    list: (labels, signal) => listContainers(engine, labels, signal),
    portHolders: (port, signal) => portHolders(engine, port, signal),
    attach: (id, signal) => attachContainer(engine, id, signal),
    stats: (id, signal) => readStats(engine, id, signal),
    logs: (id, logs, signal) => containerLogs(engine, id, logs, signal),
    exec: (id, spec, signal) => startExec(engine, id, spec, signal),
    watch: (labels, signal) => watchContainers(engine, labels, signal),
    [Symbol.asyncDispose]: async () => engine.close(),
  };
}

function hostOf(endpoint: Endpoint): RuntimeHost {
  if (endpoint.kind === "unix") return { kind: "this", socketPath: endpoint.socketPath };
  return { kind: "elsewhere" };
}
