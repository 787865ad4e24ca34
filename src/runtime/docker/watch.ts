import { z } from "zod";
import { abortFailure, type Failure } from "../../failure.ts";
import type { RuntimeEvent, RuntimeId } from "../runtime.ts";
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
  const since = await engineTime(engine, doing, signal);
  const stream = await engine.stream(
    {
      doing,
      method: "GET",
      path: "/events",
      query: {
        since,
        filters: JSON.stringify({ type: ["container"], event: ACTIONS, label: labelFilter(labels) }),
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
    for await (const event of jsonLines(stream, EngineEvent)) yield changed(event);
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

/** What the engine adds to a container's labels. */
const NOT_LABELS = new Set(["image", "name", "exitCode", "signal", "oldName", "execID", "execDuration"]);

function changed({ Action, Actor, time, timeNano }: z.infer<typeof EngineEvent>): RuntimeEvent {
  return {
    kind: "changed",
    // as: this is the engine's id
    id: Actor.ID as RuntimeId,
    // `health_status: healthy` carries its value behind the word.
    action: Action.split(":", 1)[0] ?? Action,
    labels: Object.fromEntries(Object.entries(Actor.Attributes).filter(([name]) => !NOT_LABELS.has(name))),
    at: timeNano === undefined ? time * 1000 : Math.floor(timeNano / 1e6),
  };
}

/** The engine's clock, in seconds with a fraction: it may run on another machine than we do. */
async function engineTime(engine: Engine, doing: string, signal: AbortSignal): Promise<string> {
  const request = { doing, method: "GET", path: "/info" } as const;
  const { SystemTime } = await engine.call(request, z.object({ SystemTime: z.string().optional() }), signal);
  const ms = SystemTime === undefined ? Number.NaN : Date.parse(SystemTime);
  return ((Number.isNaN(ms) ? Date.now() : ms) / 1000).toFixed(3);
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
