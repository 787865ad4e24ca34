import { existsSync } from "node:fs";
import { join } from "node:path";
import { type CheckContext, type CheckStep, failed, PASSED, ROOT } from "./check-step.ts";
import { canInstallPackages, installPackages } from "./debian-packages.ts";
import { installMissing } from "./own-engine.ts";
import { PODMAN } from "./podman.ts";
import { runCommand } from "./run-command.ts";
import { SetUpError } from "./set-up-error.ts";

const PYTHON_FOLDER = join(ROOT, ".cache", "python");
const GO_TOOLS_FOLDER = join(ROOT, ".cache", "go");
/** The newest that Debian 12's Go builds. */
const GRPCURL = "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.1";

/** Finds Go, or installs Debian's, and gives its path to the tests as TEST_GO. */
export function goStep(name: string): CheckStep {
  return setUpStep(name, async (context) => {
    const path = await find("go", ["golang-go"], context);
    context.env.TEST_GO = path;
  });
}

/** Installs Podman where it is missing; the tests start one of their own. */
export function podmanStep(name: string): CheckStep {
  return setUpStep(name, ({ progress }) => installMissing(PODMAN, progress));
}

/** Installs the shells that the scripts for completion are tried in, where they are missing. */
export function shellsStep(name: string): CheckStep {
  return setUpStep(name, async (context) => {
    for (const shell of ["zsh", "fish"]) await find(shell, [shell], context);
  });
}

/** Builds grpcurl, and gives its path to the tests as TEST_GRPCURL. */
export function grpcurlStep(name: string): CheckStep {
  return setUpStep(name, async (context) => {
    const go = await find("go", ["golang-go"], context);
    await must([go, "install", GRPCURL], context, { GOBIN: GO_TOOLS_FOLDER });
    context.env.TEST_GRPCURL = join(GO_TOOLS_FOLDER, "grpcurl");
  });
}

/**
 * Makes a Python environment with what examples/python/requirements.txt names, and gives the path of its interpreter to
 * the tests as TEST_PYTHON.
 */
export function pythonStep(name: string): CheckStep {
  return setUpStep(name, async (context) => {
    const python = join(PYTHON_FOLDER, "bin", "python");
    if (!existsSync(join(PYTHON_FOLDER, "bin", "pip"))) await makeEnvironment(context);
    const wanted = join(ROOT, "examples", "python", "requirements.txt");
    await must(
      [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", wanted],
      context,
    );
    context.env.TEST_PYTHON = python;
  });
}

async function makeEnvironment(context: CheckContext): Promise<void> {
  const system = await find("python3", ["python3", "python3-venv"], context);
  const make = [system, "-m", "venv", PYTHON_FOLDER];
  const made = await runCommand(make, { signal: context.signal });
  if (made.exitCode === 0) return;
  // Debian's python3 comes without the parts that venv needs.
  if (!canInstallPackages()) throw new SetUpError(`Cannot make a Python environment:\n${made.output}`);
  await installPackages(["python3-venv"], context.progress);
  await must([...make, "--clear"], context);
}

async function find(command: string, packages: readonly string[], context: CheckContext): Promise<string> {
  const present = Bun.which(command);
  if (present !== null) return present;
  if (!canInstallPackages()) {
    throw new SetUpError(
      `Cannot find ${command}: it is not on PATH.\nInstall it (on Debian: ${packages.join(" ")}).`,
    );
  }
  await installPackages(packages, context.progress);
  return Bun.which(command) ?? command;
}

async function must(
  command: readonly string[],
  { signal }: CheckContext,
  env: Readonly<Record<string, string>> = {},
): Promise<void> {
  const done = await runCommand(command, { cwd: ROOT, signal, env: { ...env } });
  if (done.exitCode !== 0)
    throw new SetUpError(`${command.join(" ")} ended with ${done.exitCode}\n${done.output.trim()}`);
}

function setUpStep(name: string, setUp: (context: CheckContext) => Promise<void>): CheckStep {
  return {
    name,
    run: async (context) => {
      try {
        await setUp(context);
        return PASSED;
      } catch (error) {
        if (error instanceof SetUpError) return failed(name, error.message);
        throw error;
      }
    },
  };
}
