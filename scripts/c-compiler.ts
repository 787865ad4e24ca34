import { canInstallPackages, installPackages } from "./debian-packages.ts";
import type { Progress } from "./progress.ts";
import { SetUpError } from "./set-up-error.ts";

/** What the build can compile the init with. */
const COMPILERS = ["gcc", "cc", "clang"] as const;

/** Makes sure that there is a C compiler, which the build makes the init with. */
export async function ensureCompiler(progress: Progress): Promise<void> {
  if (COMPILERS.some((name) => Bun.which(name) !== null)) return;
  if (!canInstallPackages()) {
    throw new SetUpError("Cannot find a C compiler (gcc, cc, clang).\nInstall one (on Debian: gcc).");
  }
  await installPackages(["gcc", "linux-libc-dev"], progress);
}
