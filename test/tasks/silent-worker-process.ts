import type { TestServer } from "../server.ts";

/** A worker in a process of its own that takes a task and does nothing with it; killed when it is disposed. */
export interface SilentWorker extends AsyncDisposable {
  readonly agentId: string;
}

export async function startSilentWorker(server: Pick<TestServer, "socketPath">): Promise<SilentWorker> {
  const registered = Promise.withResolvers<string>();
  const child = Bun.spawn({
    cmd: [process.execPath, `${import.meta.dir}/silent-worker.ts`, server.socketPath],
    stdin: "ignore",
    stdout: "ignore",
    stderr: "inherit",
    ipc: (agentId) => registered.resolve(String(agentId)),
    onExit: () => registered.reject(new Error("the worker has ended, and was never registered")),
  });
  return {
    agentId: await registered.promise,
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}
