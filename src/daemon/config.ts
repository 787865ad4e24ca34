import { resolve } from "node:path";
import { defaultConfigPath, type FileEntry, parseConfigFile } from "./config-file.ts";
import {
  type Layers,
  readSetting,
  type SettingValue,
  unknownNames,
  unknownVariables,
} from "./config-layers.ts";
import { type Mistake, mistakesFailure } from "./config-mistakes.ts";
import { shapeConfig } from "./config-shape.ts";
import { CONFIG_FLAG, CONFIG_VARIABLE, type NamedSetting, namedSettings } from "./setting-names.ts";
import { rules } from "./setting-rules.ts";
import type { Config } from "./settings.ts";

export type { Config } from "./settings.ts";

/** Where configuration comes from. The first of flags, environment, file and defaults that has a value wins. */
export interface ConfigInputs {
  /** By name, without dashes: `data-dir`, `config`. Absent and undefined mean not given. */
  readonly flags: Readonly<Record<string, string | undefined>>;
  /** A variable that is empty counts as not set. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The text of a file, undefined when there is none; throws when there is one that can't be read. */
  readonly readFile: (path: string) => string | undefined;
  /** The user that defaults are for; the process's own when absent. */
  readonly uid?: number;
  /** What relative paths in flags and environment are meant from; the current folder when absent. */
  readonly cwd?: string;
}

export interface LoadedConfig<Part = Config> {
  readonly config: Part;
  /** Each setting with its value and where that came from, in the table's order. */
  readonly values: readonly SettingValue[];
  /** The file that was read; undefined when there was none. */
  readonly file: string | undefined;
  /** What is odd and yet no reason to stop; for the log. */
  readonly warnings: readonly string[];
}

/** What the command line needs. */
export type ClientConfig = Pick<Config, (typeof CLIENT_SECTIONS)[number]>;

const CLIENT_SECTIONS = ["grpc", "client", "log"] as const;

/**
 * The server's configuration, checked as a whole and frozen.
 *
 * @throws Failure invalid_argument that names every mistake, where it stands and what is allowed.
 *
 * @example
 * const { config } = loadConfig({ flags: {}, env: process.env, readFile: readConfigFile });
 * listen(config.grpc.socketPath);
 */
export function loadConfig(inputs: ConfigInputs): LoadedConfig {
  const loaded = load(inputs, namedSettings);
  const config = shapeConfig(loaded.values);
  return finish({ ...loaded, config, mistakes: [...loaded.mistakes, ...clashes(config, loaded)] });
}

/**
 * The part of the configuration that a client of a server needs. Fails as `loadConfig` does, but what is wrong with a
 * setting of another section, such as a DOCKER_HOST that the server could not use, does not matter to it.
 */
export function loadClientConfig(inputs: ConfigInputs): LoadedConfig<ClientConfig> {
  const sections: readonly (string | undefined)[] = CLIENT_SECTIONS;
  const loaded = load(
    inputs,
    namedSettings.filter(({ path }) => sections.includes(path[0])),
  );
  return finish({ ...loaded, config: shapeConfig<ClientConfig>(loaded.values) });
}

/** What our own assistant needs, whether or not a server runs beside it. */
export function loadAssistantConfig(inputs: ConfigInputs): LoadedConfig<Pick<Config, "assistant">> {
  const loaded = load(inputs, assistantNamed);
  return finish({ ...loaded, config: shapeConfig<Pick<Config, "assistant">>(loaded.values) });
}

/** The assistant's settings, with the flags that `assistant run` has for them: their own names. None shows the key. */
export const assistantNamed: readonly NamedSetting[] = namedSettings
  .filter(({ path }) => path[0] === "assistant")
  .map((named) => {
    const isFlag = !named.setting.secret && named.setting.flag === undefined;
    const flag = isFlag ? named.name.slice("assistant.".length) : undefined;
    return { ...named, setting: { ...named.setting, flag } };
  });

interface Loading {
  readonly values: readonly SettingValue[];
  readonly mistakes: readonly Mistake[];
  readonly layers: Layers;
}

function load(inputs: ConfigInputs, wanted: readonly NamedSetting[]): Loading {
  const { flags, env, cwd = process.cwd(), uid = process.getuid?.() ?? -1 } = inputs;
  const { file, mistakes } = readFile(inputs, { cwd, uid });
  const layers: Layers = { flags, env, file, uid, cwd };
  const readings = wanted.map((named) => readSetting(named, layers));
  const values = readings.map(({ value }) => value);
  return {
    values,
    mistakes: [
      ...mistakes,
      ...unknownNames(layers, wanted),
      ...readings.flatMap((reading) => reading.mistakes),
    ],
    layers,
  };
}

function finish<Part>({
  config,
  values,
  mistakes,
  layers,
}: Loading & { readonly config: Part }): LoadedConfig<Part> {
  if (mistakes.length > 0) throw mistakesFailure(mistakes);
  return { config, values, file: layers.file?.path, warnings: unknownVariables(layers.env) };
}

/** The named file, or the default one if it is there. */
function readFile(
  { flags, env, readFile: read }: ConfigInputs,
  { cwd, uid }: { readonly cwd: string; readonly uid: number },
): { readonly file: Layers["file"]; readonly mistakes: readonly Mistake[] } {
  const named = flags[CONFIG_FLAG] ?? (env[CONFIG_VARIABLE] || undefined);
  const path = named === undefined ? defaultConfigPath({ uid, env }) : resolve(cwd, named);
  if (path === undefined) return { file: undefined, mistakes: [] };
  const wrong = (problem: string, line?: number) => ({
    file: undefined,
    mistakes: [{ name: "config", source: { kind: "file", path, line }, problem } as const],
  });
  let text: string | undefined;
  try {
    text = read(path);
  } catch (error) {
    return wrong(`the file can't be read: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (text === undefined) {
    if (named === undefined) return { file: undefined, mistakes: [] };
    return wrong(
      `there is no such file, but ${flags[CONFIG_FLAG] === undefined ? CONFIG_VARIABLE : "--config"} names it`,
    );
  }
  const parsed = parseConfigFile(text);
  if ("problem" in parsed) return wrong(parsed.problem, parsed.line);
  const entries: readonly FileEntry[] = parsed;
  return { file: { path, entries }, mistakes: [] };
}

/** Mistakes between settings that are each fine. */
function clashes(config: Config, { values, mistakes }: Loading): readonly Mistake[] {
  const wrong = new Set(mistakes.map(({ name }) => name));
  return rules.flatMap((rule) => {
    // Where one of them is wrong, what it was meant to be is not known.
    const problem = rule.of.some((name) => wrong.has(name)) ? undefined : rule.problem(config);
    if (problem === undefined) return [];
    const [first, second] = rule.of.map((name) => values.find((value) => value.name === name));
    // The one that somebody wrote is the one to change.
    const source = [first, second].find((value) => value?.source.kind !== "default")?.source ?? {
      kind: "default",
    };
    const [is, other] = [first, second].map((one) => one?.setting.write(one.value) ?? "");
    return [{ name: rule.of[0], source, problem: `${rule.of[0]} is ${is}; it ${problem} (${other})` }];
  });
}
