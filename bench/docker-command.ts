import { SetUpError } from "../scripts/set-up-error.ts";

/** Runs Docker's own client; how long it took as a process, in milliseconds, and how much it wrote. */
export async function dockerCommand(
  dockerHost: string,
  words: readonly string[],
): Promise<{ readonly ms: number; readonly bytes: number }> {
  const docker = Bun.which("docker");
  if (docker === null)
    throw new SetUpError("Cannot measure Docker's client: it is not on PATH (on Debian: docker.io)");
  const begin = performance.now();
  const child = Bun.spawn([docker, ...words], {
    // A client that is newer than the engine has to be told.
    env: { ...process.env, DOCKER_HOST: dockerHost, DOCKER_API_VERSION: "1.41" },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  let bytes = 0;
  for await (const chunk of child.stdout) bytes += chunk.length;
  const code = await child.exited;
  const ms = performance.now() - begin;
  if (code !== 0)
    throw new Error(
      `docker ${words.join(" ")} ended with ${code}: ${await new Response(child.stderr).text()}`,
    );
  return { ms, bytes };
}
