import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
} from "node:fs";
import { join, resolve } from "node:path";
import { callEngine } from "./engine-api.ts";
import type { Progress } from "./progress.ts";
import { runCommand } from "./run-command.ts";
import { SetUpError } from "./set-up-error.ts";
import { type TarEntry, tarArchive } from "./tar-archive.ts";

const CACHE = resolve(import.meta.dir, "..", ".cache", "packages");
const REPOSITORY = "baaaht-demo";
/** On the image: what it was made from, so that the same thing is not imported twice. */
const CONTENT_LABEL = "baaaht.image-content";
const IMPORT_TIMEOUT_MS = 120_000;

/** The images that tests and the demo use. Made from Debian packages, so that no image registry is needed. */
export type ImageName = "busybox" | "python";

/**
 * Makes sure that the engine has `baaaht-demo:<name>` and returns that reference. Both have a shell, /tmp, and the
 * users root and `app` (uid 1000); `python` has Debian's python3 with its standard library as well.
 *
 * @throws SetUpError when the packages can't be had or the engine refuses the import.
 */
export async function ensureImage(dockerHost: string, name: ImageName, progress: Progress): Promise<string> {
  const reference = `${REPOSITORY}:${name}`;
  const packages = name === "python" ? await pythonPackages() : [];
  const base = await busyboxEntries(progress);
  const content = createHash("sha256").update(tarArchive(base)).update(packages.join("\n")).digest("hex");
  if ((await importedContent(dockerHost, reference)) === content) return reference;
  progress(`  importing the image ${reference}`);
  const archive = tarArchive([...base, ...(await packageEntries(packages, progress))]);
  // With the tag in it: Podman imports as `latest` whatever a tag of its own says.
  const query = new URLSearchParams({ fromSrc: "-", repo: reference });
  query.append("changes", `LABEL ${CONTENT_LABEL}=${content}`);
  query.append("changes", "ENV PATH=/usr/local/bin:/usr/bin:/bin");
  query.append("changes", `CMD ["${name === "python" ? "python3" : "sh"}"]`);
  const path = `/images/create?${query}`;
  const answer = await callEngine(dockerHost, path, {
    method: "POST",
    body: archive,
    timeoutMs: IMPORT_TIMEOUT_MS,
  });
  const said = await answer.text();
  if (!answer.ok || said.includes('"error"')) {
    throw new SetUpError(
      `Cannot import the image "${reference}": the engine answers ${answer.status} ${said.trim()}`,
    );
  }
  return reference;
}

async function importedContent(dockerHost: string, reference: string): Promise<string | undefined> {
  const answer = await callEngine(dockerHost, `/images/${reference}/json`);
  // The engine's own description of an image; without one it is {message}.
  const image = (await answer.json()) as {
    readonly Config?: { readonly Labels?: Record<string, string> | null };
  };
  return image.Config?.Labels?.[CONTENT_LABEL];
}

async function busyboxEntries(progress: Progress): Promise<TarEntry[]> {
  const path = await findBusybox(progress);
  const applets = (await runCommand([path, "--list"])).stdout.trim().split("\n");
  const folders: TarEntry[] = [
    "bin",
    "dev",
    "etc",
    "home",
    "proc",
    "root",
    "sys",
    "usr",
    "usr/bin",
    "usr/local",
    "usr/local/bin",
    "var",
  ].map((folder) => ({ kind: "folder", path: `${folder}/`, mode: folder === "root" ? 0o700 : 0o755 }));
  return [
    ...folders,
    { kind: "folder", path: "tmp/", mode: 0o1777 },
    { kind: "folder", path: "home/app/", mode: 0o755, owner: 1000 },
    textFile("etc/passwd", "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home/app:/bin/sh\n"),
    textFile("etc/group", "root:x:0:\napp:x:1000:\n"),
    textFile("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
    { kind: "file", path: "bin/busybox", mode: 0o755, content: readFileSync(path) },
    ...applets
      .filter((applet) => applet !== "busybox")
      .map((applet): TarEntry => ({ kind: "link", path: `bin/${applet}`, target: "/bin/busybox" })),
  ];
}

function textFile(path: string, text: string): TarEntry {
  return { kind: "file", path, mode: 0o644, content: Buffer.from(text) };
}

/** A busybox that needs no libraries: BAAAHT_BUSYBOX, the one of the system, or Debian's package unpacked here. */
async function findBusybox(progress: Progress): Promise<string> {
  const own = join(CACHE, "busybox");
  const candidates = [process.env.BAAAHT_BUSYBOX, Bun.which("busybox"), own];
  for (const path of candidates) {
    if (path !== undefined && path !== null && path !== "" && existsSync(path) && isStatic(path)) return path;
  }
  if (Bun.which("apt-get") === null) {
    throw new SetUpError(
      "Cannot make the test image: there is no statically linked busybox.\nInstall one (busybox-static), or name it in BAAAHT_BUSYBOX.",
    );
  }
  using unpacked = await unpack(["busybox-static"], progress);
  const found = ["bin/busybox", "usr/bin/busybox"].map((path) => join(unpacked.path, path)).find(existsSync);
  if (found === undefined)
    throw new SetUpError("Cannot make the test image: busybox-static holds no busybox");
  copyFileSync(found, own);
  return own;
}

/** An ELF file without a program interpreter. */
function isStatic(path: string): boolean {
  return !readFileSync(path).subarray(0, 4096).includes("/ld-");
}

/** What python3 needs to run its standard library, out of all that Debian says it depends on. */
async function pythonPackages(): Promise<string[]> {
  const wanted =
    /^(python3|libpython3|libc6$|libexpat1|zlib1g|libbz2|liblzma|libcrypt1|libffi|libncursesw6|libreadline|libsqlite3|libtinfo6|libuuid1|libssl3|libgcc-s1)/;
  const hidden = ["recommends", "suggests", "conflicts", "breaks", "replaces", "enhances"].map(
    (kind) => `--no-${kind}`,
  );
  const listed = await runCommand(["apt-cache", "depends", "--recurse", ...hidden, "python3"]);
  const names = listed.stdout.split("\n").filter((line) => wanted.test(line));
  if (listed.exitCode !== 0 || names.length === 0) {
    throw new SetUpError(
      "Cannot make the Python image: it is put together from Debian's packages.\nRun apt-get update on a Debian machine.",
    );
  }
  return [...new Set(names)].sort();
}

async function packageEntries(packages: readonly string[], progress: Progress): Promise<TarEntry[]> {
  if (packages.length === 0) return [];
  using unpacked = await unpack(packages, progress);
  return [...walk(unpacked.path, "")];
}

const UNNEEDED = /^usr\/share\/(doc|man|lintian|locale|python3|info)\//;
/** Folders that the busybox part has already. */
const PRESENT = new Set(["bin", "etc", "usr", "usr/bin", "usr/local", "usr/local/bin", "var", "tmp", "root"]);

function* walk(root: string, folder: string): Generator<TarEntry> {
  for (const item of readdirSync(join(root, folder), { withFileTypes: true }).sort((a, b) =>
    a.name < b.name ? -1 : 1,
  )) {
    const path = folder === "" ? item.name : `${folder}/${item.name}`;
    if (UNNEEDED.test(`${path}/`)) continue;
    const full = join(root, path);
    if (item.isSymbolicLink()) yield { kind: "link", path, target: readlinkSync(full) };
    else if (item.isDirectory()) {
      if (!PRESENT.has(path)) yield { kind: "folder", path: `${path}/`, mode: 0o755 };
      yield* walk(root, path);
    } else if (item.isFile()) {
      yield { kind: "file", path, mode: statSync(full).mode & 0o777, content: readFileSync(full) };
    }
  }
}

/** Downloads packages and unpacks them into one fresh folder, gone when disposed, without installing anything. */
export async function unpack(
  packages: readonly string[],
  progress: Progress,
): Promise<{ path: string } & Disposable> {
  const target = join(CACHE, `unpacked-${process.pid}`);
  const archives = join(target, "archives");
  rmSync(target, { recursive: true, force: true });
  mkdirSync(archives, { recursive: true });
  progress(`  downloading ${packages.join(", ")} from Debian's archive`);
  let got = await runCommand(["apt-get", "download", "-q", ...packages], { cwd: archives });
  if (got.exitCode !== 0 && process.getuid?.() === 0) {
    // A machine that has never asked what the archive holds.
    await runCommand(["apt-get", "update", "-q"]);
    got = await runCommand(["apt-get", "download", "-q", ...packages], { cwd: archives });
  }
  if (got.exitCode !== 0)
    throw new SetUpError(`Cannot download ${packages.join(", ")}:\n${got.output.trim()}`);
  const files = join(target, "files");
  for (const archive of readdirSync(archives)) {
    const done = await runCommand(["dpkg-deb", "-x", join(archives, archive), files]);
    if (done.exitCode !== 0) throw new SetUpError(`Cannot unpack "${archive}":\n${done.output.trim()}`);
  }
  return { path: files, [Symbol.dispose]: () => rmSync(target, { recursive: true }) };
}
