import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import packageJson from "../package.json";
import { type SourceText, sourceText } from "./source-text.ts";

const root = join(import.meta.dir, "..");

/** What stands in the repository, as paths from its root, without what is generated or not ours. */
const files = trackedFiles();
const sources = files.filter((path) => /^src\/.*\.ts$/.test(path) && !path.startsWith("src/gen/"));
const typescript = files.filter((path) => path.endsWith(".ts") && !path.startsWith("src/gen/"));

describe("imports", () => {
  /** Which parts of src/ a part may import; each may import itself and the files that stand in src/ alone. */
  const arrows: Readonly<Record<string, readonly string[]>> = {
    "": [],
    gen: [],
    events: [],
    store: ["events"],
    "store/sqlite": ["store", "events"],
    runtime: ["events"], // for how it tells the time
    "runtime/docker": ["runtime"],
    sessions: ["store", "events", "runtime", "messages", "containers"],
    messages: ["store", "events", "runtime", "sessions", "containers"],
    containers: ["store", "events", "runtime", "sessions", "messages"],
    agents: ["store", "events", "sessions", "containers"],
    chat: ["store", "events", "sessions", "messages", "agents"],
    tasks: ["store", "events", "sessions", "agents"],
    rpc: [
      "gen",
      "sessions",
      "messages",
      "containers",
      "agents",
      "chat",
      "tasks",
      "events",
      "store",
      "runtime",
    ],
    client: ["gen"],
    worker: ["client", "gen"],
    assistant: ["client", "gen"],
    cli: ["worker", "assistant", "client", "gen"],
    daemon: [
      ...["rpc", "gen", "sessions", "messages", "containers", "agents", "chat", "tasks", "events"],
      ...["store", "store/sqlite", "runtime", "runtime/docker"],
    ],
    main: ["cli", "daemon"],
  };

  /** The only file of daemon/ that knows generated types: it names the services that are served. */
  const serviceList = "src/daemon/services.ts";

  test("follow the arrows: cli to worker and assistant, those to client, rpc to the domain, the domain to contracts, and nobody back", () => {
    const wrong = sources.flatMap((path) =>
      importsOf(path).flatMap((imported) => {
        const [from, to] = [partOf(path), partOf(imported)];
        const allowed = from === to || to === "" || (arrows[from] ?? []).includes(to);
        return allowed ? [] : [`${path} imports ${imported}`];
      }),
    );
    expect(wrong).toEqual([]);
  });

  test("of the runtime are of its contract, outside of daemon/", () => {
    const wrong = sources.flatMap((path) =>
      /^src\/(runtime|daemon)\//.test(path)
        ? []
        : importsOf(path)
            .filter(
              (imported) => imported.startsWith("src/runtime/") && imported !== "src/runtime/runtime.ts",
            )
            .map((imported) => `${path} imports ${imported}`),
    );
    expect(wrong).toEqual([]);
  });

  test("of generated types are in rpc/, client/, worker/, assistant/ and cli/, and where daemon/ lists the services", () => {
    const wrong = sources.filter(
      (path) =>
        !/^src\/(rpc|client|worker|assistant|cli)\//.test(path) &&
        path !== serviceList &&
        importsOf(path).some((imported) => imported.startsWith("src/gen/")),
    );
    expect(wrong).toEqual([]);
  });

  test("make no circle of files", () => {
    expect(circlesOf(new Map(sources.map((path) => [path, importsOf(path, { late: false })])))).toEqual([]);
  });
});

describe("names", () => {
  test("of files and folders are in kebab-case", () => {
    const wrong = typescript.filter((path) =>
      path.split("/").some((part) => !/^[a-z0-9]+(-[a-z0-9]+)*(\.test|\.d)?(\.ts)?$/.test(part)),
    );
    expect(wrong).toEqual([]);
  });

  test("of files say what is in them", () => {
    const empty = /^(utils?|helpers?|common|types?|index|misc|shared|lib|base)(\.test)?\.ts$/;
    const ours = typescript.filter((path) => !path.startsWith("examples/"));
    expect(ours.filter((path) => empty.test(basename(path)))).toEqual([]);
  });

  test("of classes and types do not end in words that say nothing", () => {
    const empty = /\b(?:class|interface|type)\s+(\w*(?:Manager|Service|Factory|Helper|Util|Utils|Base))\b/g;
    const wrong = sources.flatMap((path) =>
      [...withoutImports(read(path)).matchAll(empty)].map(([, name]) => `${path}: ${name}`),
    );
    expect(wrong).toEqual([]);
  });
});

describe("sizes", () => {
  const mostLines = 400;
  const mostLinesOfFunction = 90;

  test(`of files in src/ are at most ${mostLines} lines`, () => {
    const wrong = sources.map((path) => [path, read(path).code.length] as const);
    expect(wrong.filter(([, lines]) => lines > mostLines)).toEqual([]);
  });

  test(`of functions in src/ are at most ${mostLinesOfFunction} lines`, () => {
    const wrong = sources.flatMap((path) =>
      functionsOf(read(path))
        .filter(({ lines }) => lines > mostLinesOfFunction)
        .map(({ first, lines }) => `${path}:${first} has ${lines}`),
    );
    expect(wrong).toEqual([]);
  });
});

describe("types", () => {
  test("are not asserted without a comment that says why", () => {
    const wrong = sources.flatMap((path) => unexplained(path, assertions(read(path))));
    expect(wrong).toEqual([]);
  });

  test("are not silenced", () => {
    const silence = /@ts-(?:ignore|nocheck|expect-error)/;
    const wrong = typescript.filter((path) => path !== "test/tidy.test.ts" && silence.test(raw(path)));
    expect(wrong).toEqual([]);
  });
});

describe("tests", () => {
  /** Their load is made of random moments, and of what an engine does that gives no word of it. */
  const underFire = /^test\/(?:crash|faults)\//;

  test("do not sleep to synchronise: a comment says what else a sleep is for", () => {
    const sleep = /\bBun\.sleep(?:Sync)?\((?!0\))|\bsetTimeout\(\s*(?:resolve|done)\b/;
    const wrong = typescript
      .filter((path) => path.startsWith("test/") && !underFire.test(path))
      .flatMap((path) =>
        unexplained(
          path,
          read(path).code.flatMap((line, index) => (sleep.test(line) ? [index] : [])),
        ),
      );
    expect(wrong).toEqual([]);
  });

  test("are not left out, nor run alone", () => {
    const left = /\b(?:test|describe|it)\.(?:skip|only|todo)\b/;
    const wrong = typescript.filter((path) => read(path).code.some((line) => left.test(line)));
    expect(wrong).toEqual([]);
  });
});

describe("words", () => {
  const texts = files.filter(
    (path) => /\.(ts|md|json|toml|ya?ml|proto|go|py|sh|service|txt)$/.test(path) || !path.includes("."),
  );

  test("name no place of the machine that it was written on, no registry, and no number of an issue", () => {
    const foreign = [
      /(?<![\w./-])\/work\//,
      /\bregistry\.(?:npmjs|yarnpkg)\.\w+|\bnpmmirror\b|\bproxy\.golang\.org|\bpypi\.org|\bfiles\.pythonhosted\.org/,
      /\b(?:issue|ticket)s?\s+#?\d+\b|(?<![\w&/"'])#\d+\b(?!;)/i,
    ];
    const wrong = texts
      .filter((path) => path !== "test/tidy.test.ts" && !/(^|\/)(bun\.lock|go\.sum|LICENSE)$/.test(path))
      .flatMap((path) =>
        raw(path)
          .split("\n")
          .flatMap((line, index) =>
            foreign.some((pattern) => pattern.test(line))
              ? [`${path}:${index + 1}: ${line.trim().slice(0, 100)}`]
              : [],
          ),
      );
    expect(wrong).toEqual([]);
  });

  test("of docs/dependencies.md give the reason of each dependency", () => {
    const page = raw("docs/dependencies.md");
    const entries = new Set(
      [...page.matchAll(/^\|.*?\|/gm)].flatMap(([cell]) =>
        [...cell.matchAll(/\*\*(.+?)\*\*/g)].map(([, name]) => name),
      ),
    );
    const names = Object.keys({ ...packageJson.dependencies, ...packageJson.devDependencies });
    const missing = names.filter((name) => !entries.has(name));
    expect(missing).toEqual([]);
  });
});

function trackedFiles(): readonly string[] {
  const skipped = new Set([".git", ".cache", "node_modules", "dist", "third_party"]);
  const walk = (folder: string): string[] =>
    readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
      if (skipped.has(entry.name)) return [];
      const path = join(folder, entry.name);
      return entry.isDirectory() ? walk(path) : [path];
    });
  return walk("");
}

const texts = new Map<string, string>();
function raw(path: string): string {
  const known = texts.get(path) ?? readFileSync(join(root, path), "utf8");
  texts.set(path, known);
  return known;
}

const taken = new Map<string, SourceText>();
function read(path: string): SourceText {
  const known = taken.get(path) ?? sourceText(raw(path));
  taken.set(path, known);
  return known;
}

/** The files of ours that a file imports, types too; `late`: also those that it loads when it needs them. */
function importsOf(path: string, { late } = { late: true }): readonly string[] {
  const early = /^(?:import|export)\b[^;"]*?from\s+"(\.[^"]+)"|^import\s+"(\.[^"]+)"/gm;
  const found = [
    ...raw(path).matchAll(early),
    ...(late ? raw(path).matchAll(/\bimport\("(\.[^"]+)"\)/g) : []),
  ];
  return found.map(([, from, plain]) => relative(root, join(root, dirname(path), from ?? plain ?? "")));
}

/** The part of src/ that a file belongs to: its folder, and of `store` and `runtime` the folder below. */
function partOf(path: string): string {
  if (path === "src/main.ts" || path === "src/daemon-for-cli.ts") return "main";
  const [, first = "", second = ""] = path.split("/");
  if (first.endsWith(".ts")) return "";
  const below = `${first}/${second}`;
  return below === "store/sqlite" || below === "runtime/docker" ? below : first;
}

function circlesOf(graph: ReadonlyMap<string, readonly string[]>): readonly string[] {
  const done = new Set<string>();
  const circles: string[] = [];
  const visit = (path: string, way: readonly string[]): void => {
    const at = way.indexOf(path);
    if (at >= 0) circles.push([...way.slice(at), path].join(" -> "));
    if (at >= 0 || done.has(path)) return;
    for (const next of graph.get(path) ?? []) visit(next, [...way, path]);
    done.add(path);
  };
  for (const path of graph.keys()) visit(path, []);
  return circles;
}

/** The functions of a formatted file: each ends where a line with its indentation begins with a closing brace. */
function functionsOf({ code }: SourceText): readonly { readonly first: number; readonly lines: number }[] {
  return code.flatMap((line, index) => {
    if (!/(?:\)(?::\s.+)?|=>) \{$/.test(line.trimEnd())) return [];
    if (/^\s*(?:\}\s*)?(?:if|for|while|switch|catch|else|do|try|with)\b/.test(line)) return [];
    const indent = line.length - line.trimStart().length;
    const closing = `${" ".repeat(indent)}}`;
    const length = code.slice(index + 1).findIndex((other) => other.startsWith(closing));
    return [{ first: index + 1, lines: length + 2 }];
  });
}

/** The lines with type assertions, those apart that can't be wrong. */
function assertions({ code }: SourceText): readonly number[] {
  return withoutImports({ code })
    .split("\n")
    .flatMap((line, index) => (/[\w)\]}"`]\s+as\s+(?!const\b)[\w({["]/.test(line) ? [index] : []));
}

/** The code without the names of imports and exports, which can have an "as" of their own; lines stay lines. */
function withoutImports({ code }: Pick<SourceText, "code">): string {
  const blank = (part: string) => part.replace(/[^\n]/g, "");
  return code
    .join("\n")
    .replace(/^(?:import|export)\s+(?:type\s+)?(?:\*|\{)[^;]*?from\b/gm, blank)
    .replace(/^export\s+\{[^}]*\}/gm, blank);
}

function unexplained(path: string, lines: readonly number[]): readonly string[] {
  const { code, commented } = read(path);
  return lines
    .filter((line) => !commented[line] && !commented[line - 1])
    .map((line) => `${path}:${line + 1}: ${code[line]?.trim()}`);
}
