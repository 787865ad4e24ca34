import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Client, connect } from "../../src/client/client.ts";
import {
  ContainerState,
  ContainerStateSchema,
  type EventType,
  ExecState,
  MountType,
} from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { removeFromEngine, waitForAgreement } from "../crash/container-checks.ts";
import { inspectData } from "../crash/data-copy.ts";
import { enumName } from "../crash/enum-name.ts";
import { EventRecord, type Recorded } from "../crash/event-record.ts";
import { allContainers, allSessions } from "../crash/listings.ts";
import { Violations } from "../crash/violations.ts";
import { ensureInit } from "../init.ts";
import { EngineProxy } from "../runtime/docker/engine-proxy.ts";
import { type ServerOptions, startServer, type TestServer } from "../server.ts";
import { engineLeavings } from "./engine-leavings.ts";
import type { FaultEngine } from "./fault-engine.ts";

export interface SceneOptions {
  readonly engine: FaultEngine;
  /** As ServerOptions has it. */
  readonly program?: readonly string[] | undefined;
  /** Whether the server reaches the engine itself, or a proxy before it that can misbehave. */
  readonly via: "engine" | "proxy";
  readonly env?: Readonly<Record<string, string>>;
}

/** How soon what is shown has to be what is. Milliseconds. */
const truthWithinMs = 10_000;

/** One server with its data folder, its way to an engine, and a subscriber that follows its whole log. */
export class Scene implements AsyncDisposable {
  readonly engine: FaultEngine;
  readonly proxy: EngineProxy;
  readonly client: Client;
  readonly record: EventRecord;
  readonly violations: Violations;
  readonly image: string;
  /** What was seen, for people. */
  readonly notes: string[] = [];
  readonly #folder: string;
  readonly #options: ServerOptions;
  #server: TestServer;
  #install = "";

  private constructor(parts: {
    engine: FaultEngine;
    proxy: EngineProxy;
    folder: string;
    options: ServerOptions;
    server: TestServer;
    violations: Violations;
  }) {
    this.engine = parts.engine;
    this.image = parts.engine.image;
    this.proxy = parts.proxy;
    this.violations = parts.violations;
    this.#folder = parts.folder;
    this.#options = parts.options;
    this.#server = parts.server;
    this.client = connect({ address: `unix://${parts.server.socketPath}`, reconnectIntervalMs: 50 });
    this.record = new EventRecord(this.client, parts.violations);
    this.#install = inspectData(parts.server.dataDir).install;
  }

  static async open({ engine, program, via, env = {} }: SceneOptions): Promise<Scene> {
    ensureInit();
    const folder = mkdtempSync(join(tmpdir(), "baaaht-scene-"));
    const proxy = new EngineProxy(engine.socketPath);
    await proxy.up();
    const options: ServerOptions = {
      dataDir: join(folder, "data"),
      socketPath: join(folder, "s.sock"),
      dockerHost: via === "proxy" ? proxy.dockerHost : engine.dockerHost,
      env: { ...shortTimes, ...env },
      ...(program === undefined ? {} : { program }),
    };
    const violations = new Violations();
    try {
      const server = await startServer(options);
      return new Scene({ engine, proxy, folder, options, server, violations });
    } catch (error) {
      await proxy[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  }

  get server(): TestServer {
    return this.#server;
  }

  /** This server's containers, networks and volumes carry it. */
  get install(): string {
    return this.#install;
  }

  /** Starts a server again on the same folder and socket, after the one before was killed. */
  async startServerAgain(): Promise<void> {
    await this.#server[Symbol.asyncDispose]();
    this.#server = await startServer(this.#options);
  }

  async session(): Promise<string> {
    return (await this.client.orchestrator.createSession({ config: { maxContainers: 100 } })).sessionId;
  }

  /** A container that runs until it is told to end, or `command`. */
  async container(sessionId: string, command: readonly string[] = ["sleep", "100000"]): Promise<string> {
    const config = { image: this.image, command: [...command] };
    const request = { sessionId, config };
    return (await this.client.orchestrator.createContainer(request, { timeoutMs: 30_000 })).containerId;
  }

  /** A session that may have networks and volumes. */
  async furnishedSession(): Promise<string> {
    const policy = { allowNetwork: true, allowVolumeMount: true };
    return (await this.client.orchestrator.createSession({ config: { maxContainers: 10, policy } }))
      .sessionId;
  }

  /** Asks for another container of such a session, and waits until one like it is prepared: what is asked for twice is. */
  async prepared(sessionId: string): Promise<void> {
    await this.container(sessionId);
    while ((await this.client.orchestrator.getStatus({})).preparedContainers === 0) await Bun.sleep(20); // nothing tells of it
  }

  /** A container on its session's own network, with a volume of the session. */
  async furnishedContainer(sessionId: string): Promise<string> {
    const mounts = [{ type: MountType.VOLUME, source: "data", target: "/data" }];
    const config = { image: this.image, command: ["sleep", "100000"], mounts };
    const request = { sessionId, config };
    return (await this.client.orchestrator.createContainer(request, { timeoutMs: 60_000 })).containerId;
  }

  /** The state that is shown, such as `running`; `gone` when there is no such container. */
  async shown(containerId: string): Promise<string> {
    const { containers } = await this.client.orchestrator.listContainers({});
    const found = containers.find(({ id }) => id === containerId);
    return found === undefined ? "gone" : enumName(ContainerStateSchema, found.state);
  }

  /** Waits until a state is shown of a container, and notes how long that took. */
  async shows(containerId: string, state: string, withinMs = truthWithinMs): Promise<void> {
    const begin = performance.now();
    for (;;) {
      const shown = await this.shown(containerId);
      const tookMs = performance.now() - begin;
      if (shown === state) {
        this.notes.push(`${state} after ${(tookMs / 1_000).toFixed(1)} s`);
        return;
      }
      if (tookMs > withinMs) {
        this.violations.add(
          `a container is shown as ${shown} ${withinMs / 1_000} s after it has to be ${state}`,
        );
        return;
      }
      await Bun.sleep(50); // what is shown changes without a word when it becomes unknown
    }
  }

  /** Waits until the log has such an event after the first `from`. */
  async event(type: EventType, fits: (event: Recorded) => boolean = () => true, from = 0): Promise<void> {
    const deadline = performance.now() + truthWithinMs;
    while (!this.record.events.slice(from).some((event) => event.type === type && fits(event))) {
      if (performance.now() > deadline) {
        this.violations.add(`event ${type} is not in the log ${truthWithinMs / 1_000} s after it is due`);
        return;
      }
      await Bun.sleep(20); // the record is filled by a stream that goes on over restarts
    }
  }

  /** What is shown is what the engine says, in time; notes how long it took. */
  async agrees(): Promise<void> {
    const engine = { dockerHost: this.engine.dockerHost, install: this.#install };
    const tookMs = await waitForAgreement(this.client, engine, this.violations);
    const shown = await allContainers(this.client);
    const unknown = shown.filter(({ state }) => state === ContainerState.UNKNOWN);
    if (unknown.length > 0) this.violations.add(`${unknown.length} containers are still shown as unknown`);
    this.notes.push(`agreed after ${(tookMs / 1_000).toFixed(1)} s`);
    await this.#commandsAgree();
    await this.listed();
  }

  /** In time, no command is shown to run in a container that does not. */
  async #commandsAgree(): Promise<void> {
    const deadline = performance.now() + truthWithinMs;
    for (;;) {
      const { execs } = await this.client.orchestrator.listExecs({ filter: { state: ExecState.RUNNING } });
      const live = new Set(
        (await allContainers(this.client)).flatMap(({ id, state }) => (mayRun.has(state) ? [id] : [])),
      );
      const wrong = execs.filter(({ containerId }) => !live.has(containerId));
      if (wrong.length === 0) return;
      if (performance.now() > deadline) {
        this.violations.add(`${wrong.length} commands are shown to run in containers that don't`);
        return;
      }
      await Bun.sleep(50); // the ends of a container and of its commands are told by different events
    }
  }

  /** The record has all that the log has. */
  async listed(): Promise<void> {
    const { cursor } = await allSessions(this.client);
    await this.record.reaches(cursor, truthWithinMs);
  }

  /** Closes every session, and looks that nothing is left of them in the engine. */
  async emptied(): Promise<void> {
    const { rows } = await allSessions(this.client);
    const closings = rows.map(({ id }) =>
      this.client.orchestrator.closeSession({ sessionId: id }, { timeoutMs: 30_000 }),
    );
    await Promise.all(closings);
    const left = await engineLeavings(this.engine.dockerHost, this.#install);
    if (left.length > 0)
      this.violations.add(`after the end of all sessions the engine has ${left.join(", ")}`);
    await this.#commandsAgree();
    await this.listed();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.record[Symbol.asyncDispose]();
    await this.client[Symbol.asyncDispose]();
    await this.#server[Symbol.asyncDispose]();
    await this.proxy[Symbol.asyncDispose]();
    await removeFromEngine(this.engine.dockerHost, this.#install).catch(() => {}); // gone with the engine at the latest
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** In these, commands may run. */
const mayRun: ReadonlySet<ContainerState> = new Set([ContainerState.RUNNING, ContainerState.PAUSED]);

/** A server's patience with its engine, so that what takes all of it doesn't take minutes. */
const shortTimes = {
  BAAAHT_RUNTIME_STOP_GRACE: "2s",
  BAAAHT_RUNTIME_CLOSE_GRACE: "1s",
  BAAAHT_RUNTIME_OPERATION_TIMEOUT: "6s",
};
