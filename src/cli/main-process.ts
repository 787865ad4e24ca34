import type { Client } from "../client/client.ts";
import { Failure } from "../failure.ts";
import { ContainerState, LogStream } from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { after } from "./after.ts";
import { COMMAND_EXIT_CODES } from "./exit-codes.ts";
import type { Shell, StopSignal } from "./shell.ts";

export interface MainProcess {
  readonly containerId: string;
  readonly shell: Shell;
  /** Milliseconds; undefined or 0 is without end. */
  readonly timeoutMs: number | undefined;
}

/**
 * Passes on what a container's main process writes until it has ended, and gives its exit code. A signal is passed on to
 * it, a second one kills it, and so does the end of its time.
 */
export async function followMainProcess(
  client: Client,
  { containerId, shell, timeoutMs }: MainProcess,
): Promise<number> {
  let signals = 0;
  let isLate = false;
  using _signals = shell.onSignals(["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"], (signal) => {
    signals += 1;
    if (signals === 1) void interrupt(client, { containerId, signal }).catch(() => kill(client, containerId));
    else void kill(client, containerId);
  });
  using _timer = after(timeoutMs, () => {
    isLate = true;
    void kill(client, containerId);
  });
  await using chunks = client.orchestrator.streamContainerLogs({ containerId, follow: true });
  for await (const { stream, data } of chunks)
    await (stream === LogStream.STDERR ? shell.err : shell.out).write(data);
  const ended = await client.orchestrator.waitContainer({ containerId });
  if (isLate) {
    await shell.err.write(`The command was killed: its ${(timeoutMs ?? 0) / 1000} s were over\n`);
    return COMMAND_EXIT_CODES.timedOut;
  }
  if (ended.state !== ContainerState.EXITED) {
    throw new Failure(
      "unknown",
      `Cannot tell how the command ended: ${ended.stateReason || "the engine does not know it"}`,
    );
  }
  if (ended.oomKilled) {
    // The engine does not say which process it was; one that ends with another code has lived on.
    const who = ended.exitCode === KILLED ? "The command" : "A process of the command";
    await shell.err.write(`${who} was killed: it wanted more memory than it may have\n`);
  }
  return ended.exitCode;
}

/** A container's main process gets SIGINT by a command beside it, where its image has one that can; else it is stopped. */
async function interrupt(
  client: Client,
  { containerId, signal }: { readonly containerId: string; readonly signal: StopSignal },
): Promise<void> {
  const name = signal.slice("SIG".length);
  if (signal !== "SIGTERM" && (await sentByCommand(client, { containerId, name }))) return;
  await client.orchestrator.stopContainer({ containerId }, { timeoutMs: STOP_TIMEOUT_MS });
}

async function sentByCommand(
  client: Client,
  { containerId, name }: { readonly containerId: string; readonly name: string },
): Promise<boolean> {
  const start = { containerId, command: ["/bin/sh", "-c", `kill -${name} 1`] };
  const frames = [{ payload: { case: "start" as const, value: start } }];
  await using answers = client.orchestrator.execContainer(
    (async function* () {
      yield* frames;
    })(),
    { timeoutMs: STOP_TIMEOUT_MS },
  );
  for await (const { payload } of answers) {
    if (payload.case !== "end") continue;
    const { how } = payload.value;
    return how.case === "exited" && how.value.code === 0;
  }
  return false;
}

/** Its failure shows in the wait for the container's end. */
async function kill(client: Client, containerId: string): Promise<void> {
  await client.orchestrator.stopContainer({ containerId, timeoutNs: 1n }).catch(() => undefined);
}

/** 128 and the number of SIGKILL. */
const KILLED = 137;

/** More than the 10 s that a container has between SIGTERM and SIGKILL. */
const STOP_TIMEOUT_MS = 30_000;
