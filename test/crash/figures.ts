export interface CrashFigures {
  readonly seed: number;
  readonly rounds: number;
  readonly acknowledged: {
    readonly sessions: number;
    readonly messages: number;
    readonly updates: number;
    readonly closes: number;
    readonly containerCalls: number;
    readonly tasks: number;
  };
  /** Ends of tasks that their callers were told of. */
  readonly taskEnds: number;
  /** How often a worker began a task. */
  readonly tasksBegun: number;
  readonly workersKilled: number;
  /** Calls to which no answer came. */
  readonly unknown: number;
  /** Calls that were made again, twice each. */
  readonly repeated: number;
  readonly events: number;
  /** How often the subscriber was cut off, or could not resume yet. */
  readonly interruptions: number;
  readonly restartsMs: readonly number[];
  /** How long rows and engine took to agree after a restart, in the rounds with containers. */
  readonly agreementsMs: readonly number[];
  /** How long it took after a restart until all tasks had ended. */
  readonly endsMs: readonly number[];
  readonly violations: readonly string[];
}

/** The figures as a table for people, and what was found. */
export function tableOf(figures: CrashFigures): string {
  const { acknowledged } = figures;
  const rows: readonly (readonly [string, string | number])[] = [
    ["rounds of SIGKILL", figures.rounds],
    ["sessions acknowledged", acknowledged.sessions],
    ["messages acknowledged", acknowledged.messages],
    ["updates acknowledged", acknowledged.updates],
    ["closes acknowledged", acknowledged.closes],
    ["container calls acknowledged", acknowledged.containerCalls],
    ["tasks acknowledged", acknowledged.tasks],
    ["ends of tasks told to callers", figures.taskEnds],
    ["tasks begun by 8 workers", figures.tasksBegun],
    ["workers killed", figures.workersKilled],
    ["calls without an answer", figures.unknown],
    ["calls made again", figures.repeated],
    ["events, each once and in order", figures.events],
    ["attempts to resume a watch", figures.interruptions],
    ["start to serving, median", milliseconds(median(figures.restartsMs))],
    ["start to serving, longest", milliseconds(Math.max(0, ...figures.restartsMs))],
    ["rows and engine agree, longest", milliseconds(Math.max(0, ...figures.agreementsMs))],
    ["all tasks have ended, longest", milliseconds(Math.max(0, ...figures.endsMs))],
    ["lost, torn or untrue", figures.violations.length],
  ];
  const wide = Math.max(...rows.map(([, value]) => String(value).length));
  const lines = rows.map(([name, value]) => `${name.padEnd(32)}${String(value).padStart(wide)}`);
  const found = figures.violations.slice(0, 40).map((violation) => `  ${violation}`);
  if (found.length > 0)
    found.push(`\nAgain with: bun run crash --rounds ${figures.rounds} --seed ${figures.seed}`);
  return [...lines, ...found].join("\n");
}

function median(values: readonly number[]): number {
  return values.toSorted((left, right) => left - right)[Math.floor(values.length / 2)] ?? 0;
}

function milliseconds(value: number): string {
  return `${Math.round(value)} ms`;
}
