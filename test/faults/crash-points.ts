import { Failure } from "../../src/failure.ts";
import { EventType, EventTypeSchema } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { enumName } from "../crash/enum-name.ts";
import type { ProxiedRequest, ProxyRules } from "../runtime/docker/engine-proxy.ts";
import { CallRecord, callTimeoutMs } from "./call-record.ts";
import { checkExecs, checkLog, type FaultOptions, type FaultReport, reportOf } from "./fault.ts";
import { OpenExec } from "./open-exec.ts";
import { Scene } from "./scene.ts";

/** Where a server is killed in an operation. */
export interface CrashPoint {
  readonly operation: OperationName;
  readonly moment: Moment;
}

type Moment =
  /** When it asks the engine, which hears nothing of it: all that was committed before is on disk. */
  | { readonly at: "asking"; readonly route: string }
  /** When the engine has done it, and the server doesn't know. */
  | { readonly at: "done"; readonly route: string }
  /** As soon as it was told: somewhere before or after what it makes of it is committed. */
  | { readonly at: "told"; readonly route: string }
  /** When a subscriber sees the event: the commit is made, and the caller may have no answer. */
  | { readonly at: "event"; readonly type: EventType };

type OperationName = "create" | "claim" | "stop" | "remove" | "exec" | "close";

/** The steps of each operation as the engine and the log see them; the suite looks whether they still are these. */
const steps: Readonly<Record<OperationName, readonly (string | EventType)[]>> = {
  create: [
    "POST /containers/create",
    "POST /containers/{}/start",
    "GET /containers/{}/json",
    EventType.CONTAINER_CREATED,
    EventType.CONTAINER_STARTED,
  ],
  /** A creation out of a prepared container, with other limits and a network. */
  claim: [
    "POST /networks/create",
    "POST /containers/{}/update",
    "POST /networks/{}/connect",
    EventType.CONTAINER_CREATED,
    EventType.CONTAINER_STARTED,
  ],
  stop: ["POST /containers/{}/stop", "GET /containers/{}/json", EventType.CONTAINER_STOPPED],
  remove: ["GET /containers/{}/json", "DELETE /containers/{}", EventType.CONTAINER_REMOVED],
  exec: [
    EventType.EXEC_STARTED,
    "POST /containers/{}/exec",
    "POST /exec/{}/start",
    "GET /exec/{}/json",
    EventType.EXEC_FINISHED,
  ],
  close: [
    EventType.SESSION_UPDATED,
    "GET /containers/{}/json",
    "POST /containers/{}/stop",
    EventType.CONTAINER_STOPPED,
    "DELETE /containers/{}",
    EventType.CONTAINER_REMOVED,
    EventType.SESSION_CLOSED,
  ],
};

/** Every moment between two steps of every operation. */
export const crashPoints: readonly CrashPoint[] = Object.entries(steps).flatMap(([name, all]) => {
  const operation = name as OperationName; // the keys of `steps`
  return all.flatMap((step): CrashPoint[] =>
    typeof step === "string"
      ? (["asking", "done", "told"] as const).map((at) => ({ operation, moment: { at, route: step } }))
      : [{ operation, moment: { at: "event", type: step } }],
  );
});

function pointName({ operation, moment }: CrashPoint): string {
  const step = moment.at === "event" ? enumName(EventTypeSchema, moment.type) : moment.route;
  return `${operation}: ${moment.at} ${step}`;
}

/** Kills a server at each of these points in turn, and looks each time whether everything is true after its next start. */
export async function underCrashes(
  points: readonly CrashPoint[],
  options: FaultOptions,
): Promise<FaultReport> {
  const begin = performance.now();
  const env = { BAAAHT_WARM_MAX_CONTAINERS: "1" };
  await using scene = await Scene.open({ ...options, via: "proxy", env });
  const calls = new CallRecord(scene);
  for (const point of points) {
    scene.violations.where = pointName(point);
    const found = scene.violations.found.length;
    const wasHit = await crashAt(point, { scene, calls });
    scene.violations.unless(wasHit, () => "the operation has ended and this point was not reached");
    const outcome = scene.violations.found.length === found ? "ok" : "FAILED";
    scene.notes.push(`${pointName(point)}: ${wasHit ? "hit" : "not hit"}, ${outcome}`);
    options.progress?.(`  ${scene.notes.at(-1)}`);
  }
  scene.violations.where = "at the end";
  await scene.emptied();
  checkExecs(scene);
  checkLog(scene);
  scene.notes.push(calls.words);
  return reportOf("server killed between two steps", scene, begin);
}

/** Resolves to whether the point was reached. */
async function crashAt(
  point: CrashPoint,
  { scene, calls }: { readonly scene: Scene; readonly calls: CallRecord },
): Promise<boolean> {
  const isClaim = point.operation === "claim";
  const sessionId = isClaim ? await scene.furnishedSession() : await scene.session();
  const bystander = await scene.container(sessionId);
  const isNew = isClaim || point.operation === "create";
  const target = isNew ? "" : await scene.container(sessionId);
  if (isClaim) await scene.prepared(sessionId);
  await scene.listed();
  const from = scene.record.events.length;
  const trap = await Trap.set(point.moment, scene);
  const operating = operate(point.operation, { scene, calls, sessionId, target });
  // An event may come a moment after the answer that it belongs to.
  const sprung = trap.sprung.then(() => true);
  const late = operating.then(() => Promise.race([sprung, Bun.sleep(2_000).then(() => trap.hasSprung)]));
  const wasHit = await Promise.race([sprung, late]);
  trap.disarm();
  if (!wasHit) {
    await scene.server.kill();
  }
  await scene.startServerAgain();
  const isAcknowledged = await operating;
  await scene.agrees();
  scene.notes.pop(); // how long each took is told by the violations if it was too long
  await checkOutcome(point, { scene, sessionId, bystander, target, from, isAcknowledged });
  await scene.client.orchestrator.closeSession({ sessionId }, { timeoutMs: callTimeoutMs });
  return wasHit;
}

/** Kills the server at its moment. */
class Trap {
  readonly sprung: Promise<void>;
  hasSprung = false;
  readonly #scene: Scene;
  readonly #sprung = Promise.withResolvers<void>();
  readonly #stop = new AbortController();

  private constructor(scene: Scene) {
    this.#scene = scene;
    this.sprung = this.#sprung.promise;
  }

  /** Resolves when it is armed. */
  static async set(moment: Moment, scene: Scene): Promise<Trap> {
    const trap = new Trap(scene);
    if (moment.at === "event") await trap.#onEvent(moment.type);
    else scene.proxy.rules = trap.#rules(moment);
    return trap;
  }

  disarm(): void {
    this.#stop.abort();
    this.#scene.proxy.rules = {};
  }

  #rules({ at, route }: Extract<Moment, { readonly route: string }>): ProxyRules {
    const fits = (request: ProxiedRequest) =>
      !this.hasSprung && `${request.method} ${request.route}` === route;
    if (at === "asking") {
      return {
        onRequest: async (request) => {
          if (!fits(request)) return { kind: "pass" };
          await this.#spring();
          return { kind: "cut" };
        },
      };
    }
    return {
      onAnswer: async (request) => {
        if (!fits(request)) return;
        if (at === "done") await this.#spring();
        else setImmediate(() => void this.#spring());
      },
    };
  }

  async #onEvent(type: EventType): Promise<void> {
    const request = { filter: { types: [type] } };
    const events = this.#scene.client.orchestrator.subscribeEvents(request, { signal: this.#stop.signal });
    await events.started();
    const wait = async () => {
      try {
        for await (const _event of events) return await this.#spring();
      } catch (error) {
        // The server was killed under the subscription, or it was not needed any more.
        if (!(error instanceof Failure)) throw error;
      }
    };
    void wait();
  }

  async #spring(): Promise<void> {
    if (this.hasSprung) return;
    this.hasSprung = true;
    await this.#scene.server.kill();
    this.#sprung.resolve();
  }
}

interface Operating {
  readonly scene: Scene;
  readonly calls: CallRecord;
  readonly sessionId: string;
  readonly target: string;
}

/** Resolves to whether the server has acknowledged it. */
async function operate(
  operation: OperationName,
  { scene, calls, sessionId, target }: Operating,
): Promise<boolean> {
  const { orchestrator } = scene.client;
  const options = { timeoutMs: callTimeoutMs, waitForReady: false };
  const acknowledged = async (name: string, call: Promise<unknown>) =>
    (await calls.made(name, call)) !== undefined;
  switch (operation) {
    case "create": {
      const config = { image: scene.image, command: ["sleep", "100000"], labels: { op: "crash" } };
      return await acknowledged(
        "CreateContainer",
        orchestrator.createContainer({ sessionId, config }, options),
      );
    }
    case "claim": {
      const resourceLimits = { pidsLimit: 50n };
      const config = { image: scene.image, command: ["sleep", "100000"], resourceLimits };
      return await acknowledged(
        "CreateContainer",
        orchestrator.createContainer({ sessionId, config }, options),
      );
    }
    case "stop":
      return await acknowledged(
        "StopContainer",
        orchestrator.stopContainer({ containerId: target }, options),
      );
    case "remove": {
      const request = { containerId: target, force: true };
      return await acknowledged("RemoveContainer", orchestrator.removeContainer(request, options));
    }
    case "exec": {
      const command = ["sh", "-c", "echo on; exit 5"];
      const { ends, failure } = await new OpenExec(scene.client, { containerId: target, command }).ended;
      if (ends.length === 0 && failure === undefined)
        scene.violations.add("a command ended without its end frame");
      return ends.length > 0;
    }
    case "close":
      return await acknowledged("CloseSession", orchestrator.closeSession({ sessionId }, options));
  }
}

/** What has to be so after a crash, whatever it hit. */
async function checkOutcome(
  { operation }: CrashPoint,
  parts: {
    readonly scene: Scene;
    readonly sessionId: string;
    readonly bystander: string;
    readonly target: string;
    readonly from: number;
    readonly isAcknowledged: boolean;
  },
): Promise<void> {
  const { scene, bystander, target, from } = parts;
  const { violations, record } = scene;
  const deaths = new Set<EventType>([EventType.CONTAINER_STOPPED, EventType.CONTAINER_REMOVED]);
  for (const { type, containerId } of record.events.slice(from)) {
    if (operation !== "close" && containerId === bystander && deaths.has(type))
      violations.add("the death of a container was told that nobody touched");
  }
  if (operation === "close") {
    await scene.event(EventType.SESSION_CLOSED, ({ sessionId }) => sessionId === parts.sessionId, from);
    for (const id of [bystander, target]) {
      const state = await scene.shown(id);
      violations.unless(state === "gone", () => `a container of a closed session is ${state}`);
    }
    return;
  }
  const due = { stop: "exited", remove: "gone", exec: "running", create: "gone", claim: "gone" }[operation];
  const shown = await scene.shown(target);
  if (parts.isAcknowledged && operation !== "create" && operation !== "claim")
    violations.unless(shown === due, () => `the call was acknowledged, and its container is ${shown}`);
  const state = await scene.shown(bystander);
  violations.unless(state === "running", () => `a container that nobody touched is ${state}`);
  if (operation === "exec") {
    violations.unless(shown === "running", () => `a container in which a command ran is ${shown}`);
  }
}
