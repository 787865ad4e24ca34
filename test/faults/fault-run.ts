import { Failure } from "../../src/failure.ts";
import { seeded } from "../crash/random.ts";
import { byHandFaults } from "./by-hand-faults.ts";
import { underClocks } from "./clocks.ts";
import { connectionFaults } from "./connection-faults.ts";
import { crashPoints, underCrashes } from "./crash-points.ts";
import { engineFaults } from "./engine-faults.ts";
import { type Fault, type FaultOptions, type FaultReport, underFault } from "./fault.ts";
import { faultEngine } from "./fault-engine.ts";
import { underRepetition } from "./leaks.ts";
import { underRemovals } from "./removals.ts";
import type { Scenario } from "./scenario.ts";
import { underTwoServers } from "./two-servers.ts";

export interface FaultRunOptions {
  readonly rounds: number;
  readonly patience: "short" | "long";
  /** Only those whose name has this in it; all when empty. */
  readonly only: string;
  /** Chooses the crash points of a short run. */
  readonly seed: number;
  /** As ServerOptions has it. */
  readonly program?: readonly string[] | undefined;
  readonly progress?: (line: string) => void;
}

/** So many scenarios at a time, where they may share the engine. */
const lanes = 3;
/** So many crash points in a short run, and how far they are apart in their list, so that they are of all operations. */
const fewPoints = 8;
const stride = 6;

/** Does to servers and their engine what can go wrong, and gives what was seen and what was not true. */
export async function runFaults(options: FaultRunOptions): Promise<readonly FaultReport[]> {
  const chosen = scenarios.filter(
    ({ name, runs }) => name.includes(options.only) && (runs === "always" || options.patience === "long"),
  );
  if (chosen.length === 0) throw new Error(`Cannot run faults: none has "${options.only}" in its name`);
  const random = seeded(options.seed);
  await using engine = await faultEngine();
  const reports: FaultReport[] = [];
  const run = async (scenario: Scenario) => {
    const report = await reportedBy(scenario, { ...options, engine, random });
    reports.push(report);
    const outcome = report.violations.length === 0 ? "ok" : "FAILED";
    options.progress?.(`${outcome.padEnd(7)}${report.name} (${(report.tookMs / 1_000).toFixed(1)} s)`);
  };
  for (let round = 0; round < options.rounds; round += 1) {
    const alone = chosen.filter((each) => each.engine === "alone");
    for (const scenario of engine.own === undefined ? [] : alone) await run(scenario);
    const shared = chosen.filter((each) => each.engine === "shared");
    const lane = async () => {
      for (let next = shared.shift(); next !== undefined; next = shared.shift()) await run(next);
    };
    await Promise.all(Array.from({ length: lanes }, lane));
  }
  return reports;
}

/** A call of the checks themselves that fails is something untrue too. */
async function reportedBy(scenario: Scenario, options: FaultOptions): Promise<FaultReport> {
  const begin = performance.now();
  try {
    return await scenario.run(options);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    const violations = [`it can't go on: ${error.message}`];
    return { name: scenario.name, tookMs: performance.now() - begin, notes: [], violations };
  }
}

/** The names of all that there is to run. */
export function scenarioNames(): readonly string[] {
  return scenarios.map(({ name }) => name);
}

function scenarioOf(fault: Fault, engine: Scenario["engine"]): Scenario {
  return {
    name: fault.name,
    engine,
    runs: fault.runs,
    run: (options: FaultOptions) => underFault(fault, options),
  };
}

const crashes: Scenario = {
  name: "server killed between two steps",
  engine: "shared",
  runs: "always",
  run: (options) => {
    const { patience, random } = options;
    if (patience === "long") return underCrashes(crashPoints, options);
    const first = random.between(0, crashPoints.length - 1);
    const few = Array.from(
      { length: fewPoints },
      (_, at) => crashPoints[(first + at * stride) % crashPoints.length],
    );
    return underCrashes(
      few.filter((point) => point !== undefined),
      options,
    );
  },
};

const clocks: Scenario = { name: "clocks moved", engine: "shared", runs: "always", run: underClocks };
const servers: Scenario = {
  name: "two servers on one engine",
  engine: "shared",
  runs: "always",
  run: underTwoServers,
};
const leaks: Scenario = {
  name: "sessions over and over",
  engine: "shared",
  runs: "always",
  run: underRepetition,
};

const removals: Scenario = {
  name: "removed from any state",
  engine: "shared",
  runs: "always",
  run: underRemovals,
};

/** The longest first, where they run side by side. */
const scenarios: readonly Scenario[] = [
  ...engineFaults.map((fault) => scenarioOf(fault, "alone")),
  crashes,
  ...connectionFaults.map((fault) => scenarioOf(fault, "shared")),
  ...byHandFaults.map((fault) => scenarioOf(fault, "shared")),
  removals,
  servers,
  clocks,
  leaks,
];
