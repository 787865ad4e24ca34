import { z } from "zod";
import { abortFailure, type Failure } from "../../failure.ts";
import type { RuntimeEvent, RuntimeId } from "../runtime.ts";
import type { Dialect } from "./dialect.ts";
import type { Engine } from "./engine.ts";
import { engineFailure, unreachable } from "./failures.ts";
import { jsonLines } from "./json-lines.ts";
import { labelFilter } from "./label-filter.ts";

/** How long after a good ping the next one is sent, in milliseconds. With its own time-out a dead engine shows in 5 s. */
const PING_EVERY_MS = 2_000;

/** What the engine says of these containers, until it stops saying or stops answering pings. */
export async function* watchContainers(
  engine: Engine,
  labels: Readonly<Record<string, string>>,
  signal: AbortSignal,
): AsyncGenerator<RuntimeEvent> {
  const doing = "watch containers";
  const at = { doing, endpoint: engine.endpoint.name };
  // The engine sends its headers before it subscribes: what happens in between is asked for by time.
  const dialect = await engine.dialect(doing, signal);
  const since = dialect.hasOurClock ? seconds(Date.now()) : await engineTime(engine, doing, signal);
  const stream = await engine.stream(
    {
      doing,
      method: "GET",
      path: "/events",
      query: {
        since,
        filters: JSON.stringify(dialect.eventFilters(labelFilter(labels), ACTIONS)),
      },
    },
    signal,
  );
  let dead: Failure | undefined;
  const stopPinging = pingOnAndOn(engine, doing, (failure) => {
    dead = failure;
    stream.destroy(failure);
  });
  try {
    yield { kind: "watching" };
    for await (const event of jsonLines(stream, EngineEvent)) {
      const change = changed(event, dialect);
      if (ACTIONS.includes(change.action) && carries(event.Actor.Attributes, labels)) yield change;
    }
  } catch (error) {
    if (signal.aborted) throw abortFailure(signal);
    throw dead ?? engineFailure(error, at);
  } finally {
    stopPinging();
    stream.destroy();
  }
  if (signal.aborted) throw abortFailure(signal);
  throw dead ?? unreachable(at, "it ended its stream of events");
}

/** Those that change what a container is; execs and copies are not among them. */
const ACTIONS = [
  ...[
    "create",
    "start",
    "die",
    "stop",
    "kill",
    "oom",
    "pause",
    "unpause",
    "destroy",
    "rename",
    "restart",
    "update",
  ],
  "health_status",
];

const EngineEvent = z.object({
  Action: z.string(),
  Actor: z.object({ ID: z.string(), Attributes: z.record(z.string(), z.string()).default({}) }),
  time: z.number(),
  timeNano: z.number().optional(),
});

type Labels = Readonly<Record<string, string>>;

function carries(labels: Labels, wanted: Labels): boolean {
  return Object.entries(wanted).every(([name, value]) => labels[name] === value);
}

function changed(
  { Action, Actor, time, timeNano }: z.infer<typeof EngineEvent>,
  dialect: Dialect,
): Extract<RuntimeEvent, { kind: "changed" }> {
  return {
    kind: "changed",
    // as: this is the engine's id
    id: Actor.ID as RuntimeId,
    action: dialect.action(Action),
    labels: Object.fromEntries(
      Object.entries(Actor.Attributes).filter(([name]) => !dialect.notLabels.has(name)),
    ),
    at: timeNano === undefined ? time * 1000 : Math.floor(timeNano / 1e6),
  };
}

/** The engine's clock, in seconds with a fraction: it may run on another machine than we do. */
async function engineTime(engine: Engine, doing: string, signal: AbortSignal): Promise<string> {
  const request = { doing, method: "GET", path: "/info" } as const;
  const { SystemTime } = await engine.call(request, z.object({ SystemTime: z.string().optional() }), signal);
  const ms = SystemTime === undefined ? Number.NaN : Date.parse(SystemTime);
  return seconds(Number.isNaN(ms) ? Date.now() : ms);
}

function seconds(instant: number): string {
  return (instant / 1000).toFixed(3);
}

function pingOnAndOn(engine: Engine, doing: string, tell: (failure: Failure) => void): () => void {
  let over = false;
  const check = async (): Promise<void> => {
    const dead = await engine.ping(doing);
    if (over) return;
    if (dead === undefined) timer = setTimeout(check, PING_EVERY_MS);
    else tell(dead);
  };
  let timer = setTimeout(check, PING_EVERY_MS);
  return () => {
    over = true;
    clearTimeout(timer);
  };
}
