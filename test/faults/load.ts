import { EventType, EventTypeSchema } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { enumName } from "../crash/enum-name.ts";
import { CallRecord, callTimeoutMs } from "./call-record.ts";
import { endWords, OpenExec } from "./open-exec.ts";
import type { Scene } from "./scene.ts";

const options = { timeoutMs: callTimeoutMs };

/**
 * What is in flight while a fault is: containers that nobody ends, commands that don't end by themselves, and callers
 * that make, stop and remove containers, run short commands, and open and close sessions.
 */
export class Load {
  readonly calls: CallRecord;
  readonly runner: string;
  readonly ended: string;
  /** The containers that a caller has asked to end; nobody else does. */
  readonly #told = new Set<string>();
  readonly #scene: Scene;
  readonly #sessionId: string;
  readonly #execs: readonly OpenExec[];
  readonly #shown = { runner: new Set<string>(), ended: new Set<string>() };
  #goesOn = true;
  #work: Promise<unknown> = Promise.resolve();

  private constructor(parts: { scene: Scene; sessionId: string; runner: string; ended: string }) {
    const { scene, runner } = parts;
    this.#scene = scene;
    this.#sessionId = parts.sessionId;
    this.runner = runner;
    this.ended = parts.ended;
    this.calls = new CallRecord(scene);
    const talking = ["sh", "-c", "while :; do echo word; sleep 0.1; done"];
    this.#execs = [["sleep", "100000"], talking].map(
      (command) => new OpenExec(scene.client, { containerId: runner, command }),
    );
  }

  /** Resolves when everything is under way. */
  static async begin(scene: Scene): Promise<Load> {
    const sessionId = await scene.session();
    const [runner, ended] = await Promise.all([
      scene.container(sessionId),
      scene.container(sessionId, ["sh", "-c", "exit 3"]),
    ]);
    await scene.event(EventType.CONTAINER_STOPPED, ({ containerId }) => containerId === ended);
    const load = new Load({ scene, sessionId, runner, ended });
    await Promise.all(load.#execs.map(({ started }) => started));
    load.#work = Promise.all([load.#containers(), load.#commands(), load.#sessions(), load.#looks()]);
    await load.calls.reaches(4);
    return load;
  }

  /** Somebody will end this container, and that it has ended is no lie. */
  expectEnd(containerId: string): void {
    this.#told.add(containerId);
  }

  /** Begins nothing new. */
  halt(): void {
    this.#goesOn = false;
  }

  /** Resolves when all calls have ended. */
  async settled(): Promise<void> {
    this.halt();
    await this.#work;
  }

  /** The commands end: by themselves where their container has died, else because their caller goes. */
  async commandsEnd(containers: "survive" | "die"): Promise<void> {
    const { violations, notes } = this.#scene;
    if (containers === "survive") for (const exec of this.#execs) exec.cancel();
    const ends = await Promise.all(this.#execs.map((exec) => withinTime(exec.ended)));
    notes.push(`commands: ${ends.map((end) => (end === undefined ? "none" : endWords(end))).join(", ")}`);
    for (const end of ends) {
      if (end === undefined) {
        violations.add("a command whose container has died has no end");
        continue;
      }
      if (end.ends.length > 1) violations.add(`a command has ${end.ends.length} ends`);
      const wasCancelled = containers === "survive" && end.failure?.kind === "cancelled";
      if (end.ends.length === 0 && !wasCancelled)
        violations.add(`a command ended without its end frame: ${end.failure?.message ?? "OK"}`);
      if (end.ends.some(({ how }) => how.case === "exited" && how.value.code === 0))
        violations.add("a command that was cut off is said to have exited with 0");
    }
  }

  /** Nothing is told or shown that has not happened. */
  checkDeaths(containers: "survive" | "die"): void {
    const { violations, record, notes } = this.#scene;
    notes.push(`shown: ${[...this.#shown.runner].join(" → ")}`);
    const allowed = containers === "survive" ? ["running", "unknown"] : ["running", "unknown", "exited"];
    for (const state of this.#shown.runner) {
      if (!allowed.includes(state)) violations.add(`a container that nobody ended was shown as ${state}`);
    }
    for (const state of this.#shown.ended) {
      if (state !== "exited" && state !== "unknown")
        violations.add(`a container that has exited was shown as ${state}`);
    }
    if (containers === "die") return;
    for (const { type, containerId, data } of record.events) {
      const isDeath =
        type === EventType.CONTAINER_STOPPED ||
        type === EventType.CONTAINER_REMOVED ||
        (type === EventType.CONTAINER_ERROR && containerId === this.runner);
      if (isDeath && containerId !== this.ended && !this.#told.has(containerId)) {
        violations.add(
          `a death was told that nobody died: ${enumName(EventTypeSchema, type)} of ${containerId} ${JSON.stringify(data)}`,
        );
      }
    }
  }

  /** Makes a container, stops it and removes it, again and again. */
  async #containers(): Promise<void> {
    const { orchestrator } = this.#scene.client;
    while (this.#goesOn) {
      const containerId = await this.#create(this.#sessionId);
      if (containerId === undefined) continue;
      this.expectEnd(containerId);
      const timeoutNs = 50_000_000n;
      await this.calls.made("StopContainer", orchestrator.stopContainer({ containerId, timeoutNs }, options));
      await this.calls.made(
        "RemoveContainer",
        orchestrator.removeContainer({ containerId, force: true }, options),
      );
    }
  }

  /** Runs a command that ends with 5, again and again. */
  async #commands(): Promise<void> {
    const { client, violations } = this.#scene;
    while (this.#goesOn) {
      const exec = new OpenExec(client, {
        containerId: this.runner,
        command: ["sh", "-c", "echo on; exit 5"],
      });
      const end = await this.calls.made("ExecContainer", succeeding(exec, callTimeoutMs));
      if (end === undefined) {
        await Bun.sleep(50); // it is refused at once while its container does not run
        continue;
      }
      if (end.ends.length !== 1) violations.add(`a command has ${end.ends.length} ends`);
      const how = end.ends[0]?.how;
      if (how?.case === "exited" && !endCodes.has(how.value.code))
        violations.add(
          `a command that exits with 5 is said to have exited with ${how.value.code}: ${end.said}`,
        );
    }
  }

  /** Opens a session with a container and closes it, again and again. */
  async #sessions(): Promise<void> {
    const { orchestrator } = this.#scene.client;
    while (this.#goesOn) {
      const made = await this.calls.made("CreateSession", orchestrator.createSession({}, options));
      if (made === undefined) continue;
      const { sessionId } = made;
      const containerId = await this.#create(sessionId);
      if (containerId !== undefined) this.expectEnd(containerId);
      await this.calls.made("CloseSession", orchestrator.closeSession({ sessionId }, options));
    }
  }

  async #create(sessionId: string): Promise<string | undefined> {
    const { client, image } = this.#scene;
    const config = { image, command: ["sleep", "100000"] };
    const call = client.orchestrator.createContainer({ sessionId, config }, options);
    const made = await this.calls.made("CreateContainer", call);
    if (made === undefined) await Bun.sleep(50); // refused at once while there is no engine
    return made?.containerId;
  }

  /** Looks again and again at what is shown. */
  async #looks(): Promise<void> {
    while (this.#goesOn) {
      this.#shown.runner.add(await this.#scene.shown(this.runner));
      this.#shown.ended.add(await this.#scene.shown(this.ended));
      await Bun.sleep(100);
    }
  }
}

/**
 * How a command may be said to have exited that exits with 5: so, killed with its container, or as the engine has it
 * when the connection was cut while it started.
 */
const endCodes: ReadonlySet<number> = new Set([5, 137, 126]);

/** The end of a command's stream, as its error if it is one. */
async function succeeding(exec: OpenExec, withinMs: number) {
  const late = setTimeout(() => exec.cancel(), withinMs);
  const end = await exec.ended;
  clearTimeout(late);
  if (end.failure !== undefined) throw end.failure;
  return end;
}

async function withinTime<T>(promise: Promise<T>): Promise<T | undefined> {
  const late = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => late.resolve(undefined), callTimeoutMs);
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
