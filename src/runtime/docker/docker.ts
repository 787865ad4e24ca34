import { Inits } from "../init/inits.ts";
import { prepareContainer } from "../init/prepared.ts";
import type { Runtime, RuntimeHost } from "../runtime.ts";
import { copyIn, copyOut, statPath } from "./archive.ts";
import { attachContainer } from "./attach.ts";
import { type Endpoint, type EndpointOptions, findEndpoint } from "./endpoint.ts";
import { Engine } from "./engine.ts";
import { startExec } from "./exec.ts";
import { inspectContainer, listContainers, portHolders } from "./facts.ts";
import { imageCommand, imageDigest, pullImage } from "./images.ts";
import { engineInfo } from "./info.ts";
import {
  connectContainer,
  createContainer,
  killContainer,
  limitContainer,
  pauseContainer,
  removeContainer,
  resumeContainer,
  startContainer,
  stopContainer,
} from "./lifecycle.ts";
import { containerLogs } from "./logs.ts";
import { disconnectNetwork, dockerNetworks } from "./networks.ts";
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
export function connectDocker(options: DockerOptions = {}): Runtime {
  const engine = new Engine(() => findEndpoint(options));
  const plain = plainRuntime(engine);
  if (options.initFile === undefined || plain.host.kind !== "this") return plain;
  const inits = new Inits(options.initFile, (id, spec, signal) => startExec(engine, id, spec, signal));
  // A prototype, not a copy: what the engine is can change, and is asked each time.
  const quick: QuickPart = {
    create: async (spec, signal) => {
      try {
        return await plain.create(inits.withInit(spec), signal);
      } catch (error) {
        if (!inits.isToBlame(error)) throw error;
        return await plain.create(spec, signal);
      }
    },
    // What is held up is not told to end, nor waited for.
    stop: (id, stop, signal) => {
      inits.letGo(id);
      return plain.stop(id, stop, signal);
    },
    kill: (id, kill, signal) => {
      inits.letGo(id);
      return plain.kill(id, kill, signal);
    },
    exec: (id, spec, signal) => inits.exec(id, spec, signal),
    prepare: (spec, signal) =>
      prepareContainer(
        {
          ...plain,
          changesRunning: async (ask) => (await engine.dialect("prepare a container", ask)).changesRunning,
          imageCommand: (image, ask) => imageCommand(engine, image, ask),
          limit: (id, limits, act) => limitContainer(engine, id, limits, act),
          connect: (id, to, act) => connectContainer(engine, id, to, act),
          disconnect: (id, network, act) => disconnectNetwork(engine, { network, id }, act),
        },
        inits,
        spec,
        signal,
      ),
    [Symbol.asyncDispose]: async () => {
      await inits[Symbol.asyncDispose]();
      engine.close();
    },
  };
  return Object.setPrototypeOf(quick, plain) as Runtime; // as: what it lacks, its prototype has
}

export interface DockerOptions extends EndpointOptions {
  /**
   * The init as a file that the engine finds at the same path; commands in containers then start quicker, and containers
   * can be prepared. Used only with an engine on this machine.
   */
  readonly initFile?: string | undefined;
}

type QuickPart = Pick<Runtime, "create" | "stop" | "kill" | "exec"> &
  Required<Pick<Runtime, "prepare">> &
  Pick<Runtime, typeof Symbol.asyncDispose>;

function plainRuntime(engine: Engine): Runtime {
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
    stat: (id, path, signal) => statPath(engine, id, path, signal),
    copyIn: (id, into, archive, signal) => copyIn(engine, id, { ...into, archive }, signal),
    copyOut: (id, path, signal) => copyOut(engine, id, path, signal),
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
