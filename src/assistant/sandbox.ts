import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Client } from "../client/client.ts";
import { Failure } from "../failure.ts";
import {
  ContainerState,
  type ExecContainerRequestSchema,
  type ExecEnd,
} from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";

export interface SandboxOptions {
  readonly sessionId: string;
  readonly image: string;
  /** After which a command is killed. */
  readonly timeoutMs: number;
  /** What is kept of a command's output, bytes; the rest is read and dropped. */
  readonly maxOutputBytes: number;
}

export interface Run {
  readonly command: readonly string[];
  /** For its stdin; without it there is none. */
  readonly input?: string;
  readonly signal: AbortSignal;
}

/** A command that has ended. */
export interface Ran {
  readonly containerId: string;
  /** The beginning of what it has written, stdout and stderr as they came. */
  readonly output: string;
  readonly outputBytes: number;
  readonly keptBytes: number;
  readonly end:
    | { readonly how: "exited"; readonly code: number }
    | { readonly how: "signalled"; readonly signal: string }
    | { readonly how: "timed_out"; readonly afterMs: number }
    | { readonly how: "unknown"; readonly reason: string };
}

/** Marks the container of a session that its assistants work in, so that the next turn, and another assistant, finds it. */
const SANDBOX_LABELS = { assistant: "sandbox" } as const;

/** Where commands run in it. */
const WORKING_DIR = "/workspace";

/** An image may have to be fetched. */
const CREATE_TIMEOUT_MS = 600_000;

/** Bytes of stdin in one frame. */
const FRAME_BYTES = 512 * 1024;

/** The container of a session that an assistant's tools run in. It is made when it is first needed, and ends with its session. */
export class Sandbox {
  readonly #client: Client;
  readonly #options: SandboxOptions;

  constructor(client: Client, options: SandboxOptions) {
    this.#client = client;
    this.#options = options;
  }

  /**
   * Runs a command to its end.
   *
   * Failures: whatever keeps the container from being made or the command from being run, such as a session that does not
   * allow the image.
   */
  async run({ command, input, signal }: Run): Promise<Ran> {
    const containerId = await this.#container(signal);
    const start = {
      containerId,
      command: [...command],
      workingDir: WORKING_DIR,
      stdin: input !== undefined,
      timeoutNs: BigInt(this.#options.timeoutMs) * 1_000_000n,
    };
    const output = new KeptOutput(this.#options.maxOutputBytes);
    await using answers = this.#client.orchestrator.execContainer(framesOf(start, input), { signal });
    for await (const { payload } of answers) {
      if (payload.case === "stdout" || payload.case === "stderr") output.add(payload.value);
      if (payload.case === "end") return { containerId, ...output.kept(), end: endOf(payload.value) };
    }
    throw new Failure("internal", "Cannot tell how the command ended: the server did not say it");
  }

  /** The session's sandbox, made anew when there is none that runs. */
  async #container(signal: AbortSignal): Promise<string> {
    const { sessionId, image } = this.#options;
    const { orchestrator } = this.#client;
    const filter = { sessionId, labels: SANDBOX_LABELS };
    const { containers } = await orchestrator.listContainers({ filter }, { signal });
    const running = containers.find(({ state }) => state === ContainerState.RUNNING);
    if (running !== undefined) return running.id;
    for (const { id, state, stateReason } of containers) {
      if (state !== ContainerState.EXITED) throw notRunning(id, stateReason || stateWord(state));
      // Whatever has ended it, such as too little memory: its files are gone with it.
      await orchestrator.removeContainer({ containerId: id }, { signal });
    }
    const created = await orchestrator.createContainer(
      {
        sessionId,
        config: { image, command: IDLE, workingDir: WORKING_DIR, labels: SANDBOX_LABELS },
      },
      { signal, timeoutMs: CREATE_TIMEOUT_MS },
    );
    const { state, stateReason } = created.container ?? { state: ContainerState.UNKNOWN, stateReason: "" };
    if (state !== ContainerState.RUNNING)
      throw notRunning(created.containerId, stateReason || stateWord(state));
    return created.containerId;
  }
}

/** Every image with a shell has it. */
const IDLE = ["sleep", "2147483647"];

function notRunning(containerId: string, state: string): Failure {
  return new Failure(
    "failed_precondition",
    `Cannot use the sandbox "${containerId}": it does not run (${state})`,
    { reason: "SANDBOX_NOT_RUNNING" },
  );
}

function stateWord(state: ContainerState): string {
  return (
    Object.entries(ContainerState)
      .find(([, value]) => value === state)?.[0]
      .toLowerCase() ?? String(state)
  );
}

type Frame = MessageInitShape<typeof ExecContainerRequestSchema>;
type Start = Extract<NonNullable<Frame["payload"]>, { case: "start" }>["value"];

async function* framesOf(start: Start, input: string | undefined): AsyncGenerator<Frame, void, undefined> {
  yield { payload: { case: "start", value: start } };
  if (input === undefined) return;
  const bytes = Buffer.from(input);
  for (let at = 0; at < bytes.byteLength; at += FRAME_BYTES)
    yield { payload: { case: "stdin", value: bytes.subarray(at, at + FRAME_BYTES) } };
  yield { payload: { case: "closeStdin", value: {} } };
}

/** The beginning of an output, and how much there was. */
class KeptOutput {
  readonly #pieces: Uint8Array[] = [];
  readonly #maxBytes: number;
  #keptBytes = 0;
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  add(data: Uint8Array): void {
    this.#bytes += data.byteLength;
    const piece = data.slice(0, this.#maxBytes - this.#keptBytes);
    if (piece.byteLength === 0) return;
    this.#keptBytes += piece.byteLength;
    this.#pieces.push(piece);
  }

  kept(): Pick<Ran, "output" | "outputBytes" | "keptBytes"> {
    // What is no UTF-8 is shown as such; a character that was cut at the end is left out.
    const output = new TextDecoder().decode(Buffer.concat(this.#pieces), {
      stream: this.#bytes > this.#keptBytes,
    });
    return { output, outputBytes: this.#bytes, keptBytes: this.#keptBytes };
  }
}

function endOf({ how }: ExecEnd): Ran["end"] {
  switch (how.case) {
    case "exited":
      return { how: "exited", code: how.value.code };
    case "signalled":
      return { how: "signalled", signal: how.value.signal || String(how.value.number) };
    case "timedOut":
      return { how: "timed_out", afterMs: Number(how.value.timeoutNs / 1_000_000n) };
    case "cancelled":
    case "unknown":
      return { how: "unknown", reason: how.value.reason };
    default:
      return { how: "unknown", reason: "the server did not say it" };
  }
}
