import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ensureCompiler } from "./c-compiler.ts";
import { bunScript, ROOT } from "./check-step.ts";
import { DemoServer } from "./demo-server.ts";
import { installDependencies } from "./dependencies.ts";
import { bringUpEngine } from "./engine.ts";
import { ensureImage } from "./image.ts";
import { duration, toStdout as say } from "./progress.ts";
import { runCommand } from "./run-command.ts";
import { SetUpError } from "./set-up-error.ts";

// Sets everything up on a machine that may have nothing yet, and shows the main job with the compiled executable.
// Imports Bun's own modules alone, because the dependencies are installed by it.

const interrupted = new AbortController();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.once(signal, () => interrupted.abort(new SetUpError(`\nStopped by ${signal}; cleaned up.`)));
}

try {
  await demo(interrupted.signal);
} catch (error) {
  // What a command says when it is interrupted is no news.
  const reason: unknown = interrupted.signal.aborted ? interrupted.signal.reason : error;
  if (!(reason instanceof SetUpError)) throw reason;
  say(reason.message);
  process.exitCode = 1;
}

async function demo(signal: AbortSignal): Promise<void> {
  const startedAt = performance.now();
  say("Setting up");
  await timed("dependencies are installed", installDependencies);
  signal.throwIfAborted();
  await using engine = await bringUpEngine({ progress: say, afterUse: "stop" });
  say(`  using Docker ${engine.description} at ${engine.dockerHost}`);
  signal.throwIfAborted();
  let image = "";
  await timed("there is a small image to run things in", async () => {
    image = await ensureImage(engine.dockerHost, "busybox", say);
  });
  await ensureCompiler(say);
  await timed("dist/baaaht is built", () => build(signal));

  const folder = mkdtempSync(join(tmpdir(), "baaaht-demo-"));
  using _folder = { [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) };
  await using server = await DemoServer.start({ folder, dockerHost: engine.dockerHost, image, signal });
  await mainJob(server, image);
  say(`\nThat took ${duration(performance.now() - startedAt)} in all. Everything it started is stopped now.`);
}

async function mainJob(server: DemoServer, image: string): Promise<void> {
  say("\nA session: what belongs to one conversation with an agent");
  const session = await server.createSession("demo");
  await server.show("message", "send", session, "please run this for me");

  say("\nUntrusted code, in a container that has no network, no capabilities and bounded memory");
  const container = await server.id("container", "create", "--session", session, image, "--", "sleep", "300");
  await server.show(
    "container",
    "exec",
    container,
    "--",
    "sh",
    "-c",
    "id; echo hello from inside; wget -q example.org 2>&1",
  );
  await server.show("container", "list");

  say("\nThe same in one command: fresh session, fresh container, output, exit code, gone");
  await server.show("run", image, "--", "sh", "-c", "echo 6 times 7 is $((6 * 7)); exit 3");

  say(
    "\nA conversation, in which the assistant runs code in a container; without a model it does what it is told",
  );
  await server.chat("talk", "!run echo 6 times 7 is $((6 * 7))");
  await server.show("message", "list", "talk");
  await server.show("session", "close", "talk");

  say("\nClosing the session removes its containers");
  await server.show("session", "close", session, "--reason", "the demo is over");
  await server.show("container", "list");

  say("\nOne log of all of it, in order, each entry durable before its call was answered");
  await server.showUntilIdle("event", "watch", "--from-start", "--session", session);
}

async function build(signal: AbortSignal): Promise<void> {
  const done = await runCommand(bunScript("build.ts"), { cwd: ROOT, signal });
  if (done.exitCode !== 0) throw new SetUpError(`Cannot build dist/baaaht:\n${done.output.trim()}`);
}

async function timed(fact: string, work: () => Promise<void>): Promise<void> {
  const begin = performance.now();
  await work();
  say(`  ${fact} (${duration(performance.now() - begin)})`);
}
