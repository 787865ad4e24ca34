import { ROOT } from "./check-step.ts";
import { runCommand } from "./run-command.ts";
import { SetUpError } from "./set-up-error.ts";

/** Installs exactly what the lockfile says. Takes some milliseconds when it is there already. */
export async function installDependencies(): Promise<void> {
  const done = await runCommand([process.execPath, "install", "--frozen-lockfile"], { cwd: ROOT });
  if (done.exitCode !== 0) {
    throw new SetUpError(
      `Cannot install the dependencies: bun install ended with ${done.exitCode}\n${done.output.trim()}`,
    );
  }
}
