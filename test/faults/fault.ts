import { EventType, EventTypeSchema } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { enumName } from "../crash/enum-name.ts";
import type { Random } from "../crash/random.ts";
import type { FaultEngine } from "./fault-engine.ts";
import { Load } from "./load.ts";
import { Scene } from "./scene.ts";

/** Something that goes wrong while a server is at work. */
export interface Fault {
  readonly name: string;
  /** What the server talks to: engine faults are the engine's own, and others then must not use it. */
  readonly via: "engine" | "proxy";
  /** In the short run too, or only in the long one. */
  readonly runs: "always" | "long";
  /** What becomes of containers that nobody ends. */
  readonly containers: "survive" | "die";
  /** Brings it about, looks at what is shown meanwhile, and undoes it. */
  readonly happen: (scene: Scene, load: Load, options: FaultOptions) => Promise<void>;
}

export interface FaultOptions {
  readonly engine: FaultEngine;
  readonly program?: readonly string[] | undefined;
  /** A short run does of everything less. */
  readonly patience: "short" | "long";
  readonly random: Random;
  /** Told how it goes on. */
  readonly progress?: (line: string) => void;
}

/** What came of a fault. */
export interface FaultReport {
  readonly name: string;
  readonly tookMs: number;
  readonly notes: readonly string[];
  readonly violations: readonly string[];
}

/** A fault under load on a server of its own, and whether everything is true before, during and after it. */
export async function underFault(fault: Fault, options: FaultOptions): Promise<FaultReport> {
  const begin = performance.now();
  await using scene = await Scene.open({ ...options, via: fault.via });
  const load = await Load.begin(scene);
  await fault.happen(scene, load, options);
  load.halt();
  await scene.agrees();
  await load.settled();
  await load.commandsEnd(fault.containers);
  scene.notes.push(load.calls.words);
  await scene.listed();
  load.checkDeaths(fault.containers);
  await scene.emptied();
  checkEngineWords(scene);
  checkExecs(scene);
  checkLog(scene);
  return reportOf(fault.name, scene, begin);
}

export function reportOf(name: string, { notes, violations }: Scene, begin: number): FaultReport {
  return { name, tookMs: performance.now() - begin, notes, violations: violations.found };
}

/** That the engine is lost is told once, and then that it is back. */
function checkEngineWords({ record, violations, notes }: Scene): void {
  const told = record.events.filter(
    ({ type }) => type === EventType.RUNTIME_LOST || type === EventType.RUNTIME_RECOVERED,
  );
  told.forEach(({ type }, at) => {
    const due = at % 2 === 0 ? EventType.RUNTIME_LOST : EventType.RUNTIME_RECOVERED;
    if (type !== due)
      violations.add(
        `${enumName(EventTypeSchema, type)} was told where ${enumName(EventTypeSchema, due)} was due`,
      );
  });
  if (told.length % 2 === 1) violations.add("the engine is back, and that was not told");
  notes.push(`engine lost ${Math.ceil(told.length / 2)} times`);
}

/** Every command that was started has ended once in the log, and at most `well` of them with 0. */
export function checkExecs({ record, violations }: Scene, well = 0): void {
  let zeros = 0;
  const ends = new Map<string, number>();
  for (const { type, data } of record.events) {
    const id = data.exec_id ?? "";
    if (type === EventType.EXEC_STARTED) ends.set(id, 0);
    if (type !== EventType.EXEC_FINISHED) continue;
    ends.set(id, (ends.get(id) ?? Number.NaN) + 1);
    if (data.end === "exited" && data.exit_code === "0") zeros += 1;
  }
  if (zeros > well) violations.add(`the log says that ${zeros} commands exited with 0, and ${well} did`);
  for (const [id, count] of ends) {
    if (count !== 1) violations.add(`command ${id} has ${count} ends in the log`);
  }
}

/** The server's own log has no defects. */
export function checkLog({ server, violations }: Scene): void {
  for (const line of server.logs().split("\n")) {
    if (line.includes('"level":"error"')) violations.add(`the server logged: ${line.slice(0, 600)}`);
  }
}
