import { expect, test } from "bun:test";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ConfigInputs, loadClientConfig, loadConfig } from "../../src/daemon/config.ts";
import { readConfigFile } from "../../src/daemon/config-file.ts";
import { reloadConfig } from "../../src/daemon/config-reload.ts";
import { describe } from "../../src/daemon/config-report.ts";
import { text } from "../../src/daemon/setting.ts";
import { namedSettings } from "../../src/daemon/setting-names.ts";
import { Failure } from "../../src/failure.ts";

const FILE = "/home/ann/.config/baaaht/config.toml";

/** Inputs of a user who has set nothing, with `file` at the default place. */
function inputs(given: Partial<ConfigInputs> & { file?: string } = {}): ConfigInputs {
  const { file, ...rest } = given;
  const env = { HOME: "/home/ann", ...given.env };
  const readFile = (path: string): string | undefined => (path === FILE ? file : undefined);
  return { flags: {}, readFile, uid: 1000, cwd: "/home/me", ...rest, env };
}

/** The lines of the message that says what is wrong. */
function mistakes(given: Partial<ConfigInputs> & { file?: string }): readonly string[] {
  try {
    loadConfig(inputs(given));
  } catch (error) {
    expect(error).toBeInstanceOf(Failure);
    if (error instanceof Failure) {
      expect(error.kind).toBe("invalid_argument");
      return error.message.split("\n  ").slice(1);
    }
  }
  return [];
}

test("loadConfig() gives the documented numbers where nothing is set", () => {
  const { config, file, warnings } = loadConfig(inputs());
  expect(config.grpc).toMatchObject({
    socketPath: "/tmp/baaaht-grpc.sock",
    maxReceiveBytes: 104_857_600,
    maxSendBytes: 104_857_600,
    connectionTimeoutMs: 30_000,
  });
  expect(config.shutdownTimeoutMs).toBe(10_000);
  expect(config.client).toEqual({
    dialTimeoutMs: 30_000,
    callTimeoutMs: 10_000,
    reconnectIntervalMs: 5_000,
    reconnectAttempts: 0,
  });
  expect(config.dataDir).toBe("/home/ann/.local/share/baaaht");
  expect(config.docker.host).toBe("");
  expect(file).toBeUndefined();
  expect(warnings).toEqual([]);
});

test("loadConfig() accepts every default as if somebody had written it", () => {
  const lines = describe(loadConfig(inputs()))
    .filter(({ value }) => value !== "")
    .map(({ name, value }) => `${name} = ${/^\d+(\.\d+)?$/.test(value) ? value : JSON.stringify(value)}`);
  expect(mistakes({ file: lines.join("\n") })).toEqual([]);
});

test("loadConfig() puts flags before environment before file before defaults", () => {
  const file =
    'data-dir = "/file"\nshutdown-timeout = "1s"\n[log]\nlevel = "debug"\n[grpc]\nsocket-path = "/file.sock"';
  const env = { BAAAHT_DATA_DIR: "/env", BAAAHT_LOG_LEVEL: "warn", GRPC_SOCKET_PATH: "/env.sock" };
  const { config, values } = loadConfig(inputs({ flags: { "data-dir": "/flag" }, env, file }));
  expect(config.dataDir).toBe("/flag");
  expect(config.log.level).toBe("warn");
  expect(config.grpc.socketPath).toBe("/env.sock");
  expect(config.shutdownTimeoutMs).toBe(1_000);
  const sourceOf = (name: string) => values.find((value) => value.name === name)?.source;
  expect(sourceOf("data-dir")).toEqual({ kind: "flag", flag: "data-dir" });
  expect(sourceOf("grpc.socket-path")).toEqual({ kind: "environment", variable: "GRPC_SOCKET_PATH" });
  expect(sourceOf("shutdown-timeout")).toEqual({ kind: "file", path: FILE, line: 2 });
  expect(sourceOf("log.format")).toEqual({ kind: "default" });
});

test("loadConfig() prefers our own variable to one that is shared with other programs", () => {
  const env = { DOCKER_HOST: "unix:///theirs", BAAAHT_DOCKER_HOST: "unix:///ours" };
  expect(loadConfig(inputs({ env })).config.docker.host).toBe("unix:///ours");
  expect(loadConfig(inputs({ env: { ...env, BAAAHT_DOCKER_HOST: "" } })).config.docker.host).toBe(
    "unix:///theirs",
  );
});

test("loadConfig() reads every setting from its own variable", () => {
  const env = Object.fromEntries(
    describe(loadConfig(inputs())).map(({ name, value }) => {
      const named = namedSettings.find((one) => one.name === name);
      return [named?.environment[0] ?? "", value];
    }),
  );
  const given = loadConfig(inputs({ env })).values.filter(({ value }) => value !== "");
  expect(given.filter(({ source }) => source.kind !== "environment")).toEqual([]);
});

test("loadConfig() gives root and the XDG rules their own defaults", () => {
  expect(loadConfig(inputs({ uid: 0 })).config.dataDir).toBe("/var/lib/baaaht");
  expect(loadConfig(inputs({ env: { XDG_DATA_HOME: "/data" } })).config.dataDir).toBe("/data/baaaht");
  expect(loadConfig(inputs({ env: { XDG_DATA_HOME: "data" } })).config.dataDir).toBe(
    "/home/ann/.local/share/baaaht",
  );
  const asked: string[] = [];
  const readFile = (path: string): undefined => void asked.push(path);
  loadConfig(inputs({ uid: 0, readFile }));
  loadConfig(inputs({ readFile, env: { XDG_CONFIG_HOME: "/settings" } }));
  expect(asked).toEqual(["/etc/baaaht/config.toml", "/settings/baaaht/config.toml"]);
});

test("loadConfig() takes paths from the current folder, the file's folder, or home", () => {
  const of = (given: Parameters<typeof inputs>[0]) => loadConfig(inputs(given)).config.dataDir;
  expect(of({ flags: { "data-dir": "data" } })).toBe("/home/me/data");
  expect(of({ file: 'data-dir = "data"' })).toBe("/home/ann/.config/baaaht/data");
  expect(of({ env: { BAAAHT_DATA_DIR: "~/data" } })).toBe("/home/ann/data");
});

test("loadConfig() demands a file that somebody named", () => {
  expect(mistakes({ flags: { config: "mine.toml" } })).toEqual([
    "/home/me/mine.toml: there is no such file, but --config names it",
  ]);
  expect(mistakes({ env: { BAAAHT_CONFIG: "/etc/mine.toml" } })).toEqual([
    "/etc/mine.toml: there is no such file, but BAAAHT_CONFIG names it",
  ]);
});

test("loadConfig() names every mistake at once, where it stands and what is allowed", () => {
  const file = `grpc = 3
[log]
level = "loud"
[retention]
events-max-age = 7
[sessions]
max-labels = -1
max-containers = 5
`;
  expect(
    mistakes({
      flags: { "shutdown-timeout": "10", "log-levl": "debug" },
      env: { DOCKER_HOST: "ssh://host", BAAAHT_RUNTIME_DEFAULT_MEMORY_BYTES: "1 apple" },
      file,
    }).toSorted(),
  ).toEqual([
    "--log-levl: there is no such flag; did you mean --log-level?",
    '--shutdown-timeout: shutdown-timeout is "10"; it must be a duration with its unit, such as 250ms, 30s or 1h30m, from 0 to 1h',
    `${FILE}:1: grpc is a section, not a setting`,
    `${FILE}:3: log.level is "loud"; it must be one of debug, info, warn, error`,
    `${FILE}:5: retention.events-max-age is 7; it must be a duration with its unit, such as 250ms, 30s or 1h30m, from 1s to 3650d, or 0 (for ever)`,
    `${FILE}:7: sessions.max-labels is -1; it must be a whole number, from 0 to 4096`,
    `${FILE}:8: sessions.default-max-containers is 10; it must not exceed sessions.max-containers (5)`,
    'BAAAHT_RUNTIME_DEFAULT_MEMORY_BYTES: runtime.default-memory-bytes is "1 apple"; it must be a size in bytes, such as 65536, 100MiB or 1GB, from 6MiB to 64TiB',
    'DOCKER_HOST: docker.host is "ssh://host"; it must be unix://, tcp://, http:// or https://; "ssh" is not spoken',
  ]);
});

test("loadConfig() suggests what was meant by an unknown key, also outside its section", () => {
  expect(
    mistakes({ file: 'socket-path = "/x"\n\n[grpc]\nmax-recieve-bytes = 1\n[nothing-like-it]\nzzz = 1' }),
  ).toEqual([
    `${FILE}:1: socket-path is not a setting; did you mean grpc.socket-path?`,
    `${FILE}:4: grpc.max-recieve-bytes is not a setting; did you mean grpc.max-receive-bytes?`,
    `${FILE}:6: nothing-like-it.zzz is not a setting`,
  ]);
});

test("loadConfig() checks the file even where something else wins, but not another program's variables", () => {
  const file = '[docker]\nhost = "ssh://file"';
  expect(
    mistakes({
      file,
      env: { DOCKER_HOST: "ssh://env" },
      flags: { "docker-host": "unix:///run/docker.sock" },
    }),
  ).toEqual([
    `${FILE}:2: docker.host is "ssh://file"; it must be unix://, tcp://, http:// or https://; "ssh" is not spoken`,
  ]);
});

test("loadConfig() says where a file stops being TOML, and lives through odd ones", () => {
  expect(mistakes({ file: 'a = 1\nb = "\n' })[0]).toStartWith(`${FILE}:2: `);
  expect(mistakes({ file: "[__proto__]\nx = 1\n[constructor]\n" })).toHaveLength(2);
  expect(mistakes({ file: "grpc.max-send-bytes = 1979-05-27\n" })[0]).toContain(
    ":1: grpc.max-send-bytes is ",
  );
  expect(mistakes({ file: `data-dir = "${"x".repeat(200)}\\u0000"` })[0]).toMatch(
    /… \(\d+ characters\); it must be a path/,
  );
  expect(mistakes({ file: "[grpc]\n[[log]]\n" })).toEqual([`${FILE}:2: log is a section, not a setting`]);
});

test("loadConfig() warns of a variable that looks like ours, and goes on", () => {
  const env = { BAAAHT_LOG_LEVLE: "debug", BAAAHT_PORT: "tcp://10.0.0.1:80" };
  expect(loadConfig(inputs({ env })).warnings).toEqual([
    "BAAAHT_LOG_LEVLE is set and is not a setting; did you mean BAAAHT_LOG_LEVEL?",
    "BAAAHT_PORT is set and is not a setting",
  ]);
});

test("loadConfig() refuses a socket path that the kernel would cut, or that is not a path", () => {
  const path = `/${"x".repeat(98)}`;
  expect(loadConfig(inputs({ flags: { "grpc-socket-path": path } })).config.grpc.socketPath).toBe(path);
  expect(mistakes({ flags: { "grpc-socket-path": `${path}x` } })[0]).toContain(
    "at most 99 bytes, and this has 100",
  );
  expect(mistakes({ flags: { "grpc-socket-path": "unix:///x" } })[0]).toContain("without a scheme");
});

test("loadConfig() asks for a data folder where there is no home to put it in", () => {
  expect(mistakes({ env: { HOME: undefined } })).toEqual([
    "default: data-dir has no default, because HOME is not set; give it by --data-dir, BAAAHT_DATA_DIR, data-dir in the file",
  ]);
});

test("loadConfig() returns what nobody can change", () => {
  const { config } = loadConfig(inputs());
  expect(Object.isFrozen(config) && Object.isFrozen(config.grpc)).toBe(true);
});

test("loadClientConfig() is not stopped by what only a server needs", () => {
  const env = { HOME: undefined, DOCKER_HOST: "ssh://host", BAAAHT_CLIENT_CALL_TIMEOUT: "1s" };
  const { config } = loadClientConfig(inputs({ env }));
  expect(config.client.callTimeoutMs).toBe(1_000);
  expect(config.grpc.socketPath).toBe("/tmp/baaaht-grpc.sock");
  expect(() => loadClientConfig(inputs({ env: { BAAAHT_CLIENT_CALL_TIMEOUT: "1" } }))).toThrow(Failure);
});

test("readConfigFile() tells absent from unreadable", () => {
  const folder = mkdtempSync(join(tmpdir(), "baaaht-config-"));
  try {
    expect(readConfigFile(join(folder, "absent"))).toBeUndefined();
    writeFileSync(join(folder, "file"), "x");
    expect(readConfigFile(join(folder, "file"))).toBe("x");
    expect(readConfigFile(join(folder, "file", "below"))).toBeUndefined();
    mkdirSync(join(folder, "folder"));
    expect(() => readConfigFile(join(folder, "folder"))).toThrow("it is a folder");
    writeFileSync(join(folder, "large"), Buffer.alloc(1_048_577));
    expect(() => readConfigFile(join(folder, "large"))).toThrow("it has 1048577 bytes");
    if (process.getuid?.() !== 0) {
      chmodSync(join(folder, "file"), 0);
      expect(() => readConfigFile(join(folder, "file"))).toThrow("it may not be read by this user");
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("describe() masks a password in a URL, and leaves the rest of it", () => {
  const [named] = namedSettings;
  if (named === undefined) throw new Error("the table is empty");
  const url = { ...named, setting: text("A URL.", { default: "" }), source: { kind: "default" } as const };
  const urls = [
    "https://me:p@ss@host/v1",
    "https://:secret@host:1/v1",
    "ssh://me@host:22",
    "http://host:80/a@b",
  ];
  const values = urls.map((value) => ({ ...url, value }));
  expect(describe({ values }).map(({ value }) => value)).toEqual([
    "https://me:********@host/v1",
    "https://:********@host:1/v1",
    "ssh://me@host:22",
    "http://host:80/a@b",
  ]);
});

test("describe() masks what is secret and shows the rest as one would write it", () => {
  const [named] = namedSettings;
  if (named === undefined) throw new Error("the table is empty");
  const secret = {
    ...named,
    setting: text("A key.", { default: "", secret: true }),
    source: { kind: "default" } as const,
  };
  const values = [
    { ...secret, value: "hunter2" },
    { ...secret, value: "" },
  ];
  expect(describe({ values }).map(({ value }) => value)).toEqual(["********", ""]);
  const shown = new Map(describe(loadConfig(inputs())).map(({ name, value }) => [name, value]));
  expect(shown.get("grpc.max-receive-bytes")).toBe("100MiB");
  expect(shown.get("retention.events-max-age")).toBe("7d");
  expect(shown.get("sessions.default-idle-timeout")).toBe("0");
});

test("reloadConfig() puts into force what can change while serving, and names the rest", () => {
  const before = loadConfig(inputs());
  const reread = loadConfig(inputs({ file: 'data-dir = "/other"\n[log]\nlevel = "debug"' }));
  const { loaded, applied, deferred } = reloadConfig(before, reread);
  expect(applied).toEqual([{ name: "log.level", before: "info", after: "debug" }]);
  expect(deferred).toEqual([{ name: "data-dir", before: "/home/ann/.local/share/baaaht", after: "/other" }]);
  expect(loaded.config).toEqual({ ...before.config, log: { ...before.config.log, level: "debug" } });

  const again = reloadConfig(loaded, before);
  expect(again.loaded.config).toEqual(before.config);
  expect(again.deferred).toEqual([]);
});

test("namedSettings have names, variables and flags of their own, and one line that explains each", () => {
  const unique = (all: readonly string[]) => expect(new Set(all).size).toBe(all.length);
  unique(namedSettings.map(({ name }) => name));
  unique(namedSettings.flatMap(({ environment }) => environment));
  unique(namedSettings.flatMap(({ setting }) => setting.flag ?? []));
  for (const { name, path, setting } of namedSettings) {
    expect(name).toMatch(/^[a-z]+(-[a-z]+)*(\.[a-z]+(-[a-z]+)*)?$/);
    expect(setting.doc).toMatch(/^[A-Z].*\.$/);
    if (setting.kind === "duration") expect(path.at(-1)).toEndWith("Ms");
    if (setting.kind === "size") expect(path.at(-1)).toEndWith("Bytes");
  }
});
