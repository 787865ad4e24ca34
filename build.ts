import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import type { BunPlugin } from "bun";
import { compileInit, type InitProcessor } from "./init/compile.ts";
import { version } from "./package.json";

const ROOT = import.meta.dir;

const TARGETS = {
  "linux-x64": "bun-linux-x64",
  "linux-x64-musl": "bun-linux-x64-musl",
  "linux-arm64": "bun-linux-arm64",
  "linux-arm64-musl": "bun-linux-arm64-musl",
  "darwin-x64": "bun-darwin-x64",
  "darwin-arm64": "bun-darwin-arm64",
} as const;

export type Target = keyof typeof TARGETS;

const USAGE = `Usage: bun build.ts [--target <name>]... [--all] [--outfile <path>]

  (none)      dist/baaaht for this machine
  --target    dist/baaaht-<name>: ${Object.keys(TARGETS).join(", ")}
  --all       every target
  --outfile   another path, for one executable
`;

export interface Build {
  readonly entrypoint: string;
  readonly outfile: string;
  /** Another machine than this one. Bun fetches that machine's runtime from the package registry once. */
  readonly target?: Target;
  /** What the executable says that it is; by default what `readStamp` finds. */
  readonly stamp?: Stamp;
}

export interface Stamp {
  readonly version: string;
  readonly commit: string;
  readonly date: string;
}

/**
 * Makes one executable that needs no other file. It appears at `outfile` whole or not at all, so a server that runs from
 * there is not disturbed.
 *
 * @throws Error that names the target and the reason, with the bundler's own messages.
 */
export async function buildExecutable({ entrypoint, outfile, target, stamp }: Build): Promise<void> {
  mkdirSync(dirname(outfile), { recursive: true });
  // The executable carries its own file's name inside, so the folder is temporary and the name is not.
  const folder = mkdtempSync(join(dirname(outfile), ".build-"));
  try {
    const init = initFor(target);
    const made = join(folder, basename(outfile));
    const result = await Bun.build({
      entrypoints: [entrypoint],
      root: ROOT,
      target: "bun",
      // Bytecode alone would choose cjs, where top-level await fails.
      format: "esm",
      bytecode: true,
      // What a command doesn't need is not read: `version` starts in two thirds of the time.
      splitting: true,
      // Names stay: they cost little and a stack trace without them is no help.
      minify: { whitespace: true, syntax: true, identifiers: false },
      sourcemap: "inline",
      define: { ...definitions(stamp ?? readStamp(ROOT)), BAAAHT_INIT: JSON.stringify(init) },
      plugins: [withoutUnusedDependencies],
      throw: false,
      compile: {
        ...(target === undefined ? {} : { target: TARGETS[target] }),
        outfile: made,
        // What happens to lie in the folder that the server is started from must not change what it does.
        autoloadDotenv: false,
        autoloadBunfig: false,
        autoloadTsconfig: false,
        autoloadPackageJson: false,
      },
    });
    if (!result.success) throw new Error(result.logs.map(String).join("\n"));
    chmodSync(made, 0o755);
    renameSync(made, outfile);
    if (target === undefined && init !== "") {
      // For servers that are run from source.
      mkdirSync(join(ROOT, "dist"), { recursive: true });
      writeFileSync(join(ROOT, "dist", `init-${process.arch}`), Buffer.from(init, "base64"));
    }
  } catch (error) {
    throw new Error(`Cannot build "${outfile}" for ${target ?? "this machine"}: ${reason(error, target)}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The init in base64: for containers on the machine that the executable is for; empty where there are none. */
function initFor(target: Target | undefined): string {
  const name = target ?? (process.platform === "linux" ? `linux-${process.arch}` : process.platform);
  const processor = /^linux-(x64|arm64)/.exec(name)?.[1] as InitProcessor | undefined; // as: the pattern has no other
  if (processor === undefined) return "";
  const bytes = compileInit(processor);
  if (bytes === undefined) {
    process.stderr.write(
      `No C compiler for ${processor}: without its init, starts in containers are not warm.\n`,
    );
    return "";
  }
  return Buffer.from(bytes).toString("base64");
}

function reason(error: unknown, target: Target | undefined): string {
  const messages = error instanceof AggregateError ? error.errors.map(String) : [String(error)];
  const text = messages.join("\n");
  if (target === undefined || !/failed to (download|extract)/i.test(text)) return text;
  return `Bun's runtime for it could not be fetched from the package registry; is there a network, or a proxy in HTTPS_PROXY?\n${text}`;
}

/** Parts of dependencies that can't work in a single file and that the product doesn't use. */
const withoutUnusedDependencies: BunPlugin = {
  name: "without unused dependencies",
  setup(build) {
    // docker-modem loads ssh2 for ssh:// hosts; its native parts would be unpacked into TMPDIR at every start.
    // dockerode's BuildKit session reads a .proto file from the folder that it was built in.
    build.onResolve({ filter: /^(ssh2|cpu-features)$/ }, ({ path }) => ({ path, namespace: "left-out" }));
    build.onResolve({ filter: /^\.\/session$/ }, ({ path, importer }) =>
      /[\\/]dockerode[\\/]lib[\\/]/.test(importer)
        ? { path: "dockerode/session", namespace: "left-out" }
        : { path },
    );
    build.onLoad({ filter: /.*/, namespace: "left-out" }, ({ path }) => ({
      loader: "js",
      contents: `function leftOut() { throw new Error("Cannot use ${path}: it is not part of this executable"); }
module.exports = leftOut;
module.exports.Client = leftOut;`,
    }));
  },
};

function definitions(stamp: Stamp): Record<string, string> {
  return {
    BAAAHT_VERSION: JSON.stringify(stamp.version),
    BAAAHT_COMMIT: JSON.stringify(stamp.commit),
    BAAAHT_DATE: JSON.stringify(stamp.date),
    "process.env.NODE_ENV": '"production"',
    // What CommonJS dependencies would get is the folder they were built in: useless elsewhere, and different bytes.
    __dirname: '"/"',
    __filename: '"/baaaht.js"',
  };
}

/**
 * The release, and the commit of `folder` with its date. A source archive has none of the latter, and one that was
 * unpacked inside another repository must not take that one's.
 */
export function readStamp(folder: string): Stamp {
  const unknown = { version, commit: "unknown", date: dateFromEnvironment() };
  const top = git(["rev-parse", "--show-toplevel"], folder);
  if (top === undefined || realpathSync(top) !== realpathSync(folder)) return unknown;
  const [commit, seconds] = git(["log", "-1", "--format=%H %ct"], folder)?.split(" ") ?? [];
  if (commit === undefined || seconds === undefined) return unknown;
  const changed = git(["status", "--porcelain", "--untracked-files=no"], folder) !== "";
  return { version, commit: changed ? `${commit}-dirty` : commit, date: isoDate(seconds) };
}

/** SOURCE_DATE_EPOCH is what packagers set where there is no repository. */
function dateFromEnvironment(): string {
  const seconds = process.env.SOURCE_DATE_EPOCH;
  return seconds !== undefined && /^\d{1,11}$/.test(seconds) ? isoDate(seconds) : "unknown";
}

function isoDate(seconds: string): string {
  return new Date(Number(seconds) * 1000).toISOString().replace(".000Z", "Z");
}

function git(args: readonly string[], cwd: string): string | undefined {
  if (Bun.which("git") === null) return undefined;
  const { exitCode, stdout } = Bun.spawnSync(["git", ...args], { cwd, stdin: "ignore", stderr: "ignore" });
  return exitCode === 0 ? stdout.toString().trim() : undefined;
}

function isTarget(name: string): name is Target {
  return Object.hasOwn(TARGETS, name);
}

/** What to build, or undefined when the words make no sense; the reason is already on stderr. */
function plan(words: readonly string[]): readonly Build[] | undefined {
  const { values } = parseArgs({
    args: [...words],
    options: {
      target: { type: "string", multiple: true, default: [] },
      all: { type: "boolean", default: false },
      outfile: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return undefined;
  const names = values.all ? Object.keys(TARGETS) : [...new Set(values.target)];
  const entrypoint = join(ROOT, "src/main.ts");
  if (values.outfile !== undefined && names.length > 1)
    throw new TypeError("--outfile is for one executable");
  if (names.length === 0)
    return [{ entrypoint, outfile: resolve(values.outfile ?? join(ROOT, "dist/baaaht")) }];
  return names.map((name) => {
    if (!isTarget(name)) throw new TypeError(`Unknown target "${name}"`);
    return {
      entrypoint,
      target: name,
      outfile: resolve(values.outfile ?? join(ROOT, `dist/baaaht-${name}`)),
    };
  });
}

async function main(words: readonly string[]): Promise<number> {
  let builds: readonly Build[] | undefined;
  try {
    builds = plan(words);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`);
    return 2;
  }
  if (builds === undefined) {
    process.stdout.write(USAGE);
    return 0;
  }
  let failed = 0;
  for (const build of builds) {
    const startedAt = performance.now();
    try {
      await buildExecutable(build);
      const megabytes = (statSync(build.outfile).size / 1e6).toFixed(1);
      const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
      process.stdout.write(`${build.outfile}  ${megabytes} MB  ${seconds} s\n`);
    } catch (error) {
      failed += 1;
      process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    }
  }
  return failed === 0 ? 0 : 1;
}

if (import.meta.main) process.exit(await main(process.argv.slice(2)));
