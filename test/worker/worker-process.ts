import { PROGRAM } from "../program.ts";
import type { TestServer } from "../server.ts";

/** `baaaht agent run` in a process of its own, killed when it is disposed. */
export interface WorkerProcess extends AsyncDisposable {
  /** As the server has given it. */
  readonly agentId: string;
  /** The code that it ended with, or minus the number of the signal that ended it. */
  readonly exited: Promise<number>;
  signal(name: NodeJS.Signals): void;
  /** Ends its stdin, as whoever has started it does by going. */
  leave(): void;
  /** Waits for a line on stderr that holds `text`. */
  said(text: string): Promise<void>;
  /** Waits until it says something more. */
  more(): Promise<void>;
  /** All that it has said. */
  words(): string;
}

/** Starts a worker for the server's tasks, all of them in `image`, and waits until it is ready. */
export async function startWorkerProcess(
  server: Pick<TestServer, "socketPath">,
  { image, flags = [] }: { readonly image: string; readonly flags?: readonly string[] },
): Promise<WorkerProcess> {
  const table = ["--image", image, "--language", `python=${image} sh`, "--language", `sh=${image}`];
  const child = Bun.spawn({
    cmd: [...PROGRAM, "agent", "run", "--pull", "never", ...table, ...flags],
    env: { PATH: process.env.PATH, HOME: process.env.HOME, GRPC_SOCKET_PATH: server.socketPath },
    stdin: "pipe",
    stdout: "ignore",
    stderr: "pipe",
  });
  let text = "";
  let more = Promise.withResolvers<void>();
  let isOver = false;
  const reading = (async () => {
    const decoder = new TextDecoder();
    for await (const bytes of child.stderr) {
      text += decoder.decode(bytes, { stream: true });
      more.resolve();
      more = Promise.withResolvers();
    }
    isOver = true;
    more.resolve();
  })();
  const said = async (wanted: string) => {
    while (!text.includes(wanted)) {
      if (isOver) throw new Error(`it has ended and never said "${wanted}":\n${text}`);
      await more.promise;
    }
  };
  const exited = child.exited.then(async (code) => {
    await reading;
    return child.signalCode === null ? code : 128 - code; // Bun gives 128 + the signal's number
  });
  await said("Ready for tasks as agent ");
  return {
    agentId: /Ready for tasks as agent (\S+)/.exec(text)?.[1] ?? "",
    exited,
    signal: (name) => child.kill(name),
    leave: () => void child.stdin.end(),
    said,
    more: () => more.promise,
    words: () => text,
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await exited;
    },
  };
}
