import { dirname } from "node:path";
import { nearestName } from "../nearest-name.ts";
import type { FileEntry } from "./config-file.ts";
import { isTable } from "./config-file.ts";
import { type Mistake, type Source, sourceText } from "./config-mistakes.ts";
import { CONFIG_FLAG, CONFIG_VARIABLE, type NamedSetting, namedSettings } from "./setting-names.ts";

/** The layers that values are taken from, before the defaults. */
export interface Layers {
  readonly flags: Readonly<Record<string, string | undefined>>;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly file: { readonly path: string; readonly entries: readonly FileEntry[] } | undefined;
  /** Whose defaults. */
  readonly uid: number;
  /** What relative paths in flags and environment are meant from. */
  readonly cwd: string;
}

export interface SettingValue extends NamedSetting {
  readonly value: unknown;
  readonly source: Source;
}

/** The setting's value from the first layer that has one, or its default, and what is wrong with it. */
export function readSetting(
  named: NamedSetting,
  layers: Layers,
): { readonly value: SettingValue; readonly mistakes: readonly Mistake[] } {
  const { name, setting } = named;
  const all = [fromFlag(named, layers), fromEnvironment(named, layers), fromFile(named, layers)];
  const given = all.filter((layer) => layer !== undefined);
  const mistakes: Mistake[] = [];
  let found: SettingValue | undefined;
  for (const [rank, { raw, source, folder }] of given.entries()) {
    // The file is checked even where something else wins, so that a mistake doesn't wait for the day it counts. Of
    // flags and environment only the winner is: DOCKER_HOST may be set for another program.
    if (rank > 0 && source.kind !== "file") continue;
    const reading = setting.read(raw, { folder, home: layers.env.HOME || undefined });
    if ("value" in reading) {
      found ??= { ...named, value: reading.value, source };
    } else {
      const shown = setting.secret ? "has a value that is not shown" : `is ${excerpt(raw)}`;
      mistakes.push({ name, source, problem: `${name} ${shown}; it ${reading.problem}` });
    }
  }
  const value = setting.fallback(layers);
  if (value === undefined && given.length === 0) {
    const problem = `${name} has no default, because HOME is not set; give it by ${ways(named)}`;
    mistakes.push({ name, source: { kind: "default" }, problem });
  }
  return { value: found ?? { ...named, value, source: { kind: "default" } }, mistakes };
}

/** What was given and is no setting: a slip there would otherwise go unnoticed. */
export function unknownNames({ flags, file }: Layers, wanted: readonly NamedSetting[]): readonly Mistake[] {
  const flagNames = [
    CONFIG_FLAG,
    ...[...namedSettings, ...wanted].flatMap(({ setting }) => setting.flag ?? []),
  ];
  const knownFlags = new Set(flagNames.map((name) => `--${name}`));
  const knownNames = new Set(namedSettings.map(({ name }) => name));
  const mistakes: Mistake[] = [];
  for (const [flag, value] of Object.entries(flags)) {
    if (value === undefined || knownFlags.has(`--${flag}`)) continue;
    const problem = `there is no such flag${suggestion(`--${flag}`, knownFlags)}`;
    mistakes.push({ name: flag, source: { kind: "flag", flag }, problem });
  }
  for (const { name, value, line } of file?.entries ?? []) {
    if (knownNames.has(name)) continue;
    const isSection = [...knownNames].some((known) => known.startsWith(`${name}.`));
    if (isSection && isTable(value)) continue;
    const problem = isSection
      ? "is a section, not a setting"
      : `is not a setting${suggestion(name, knownNames)}`;
    mistakes.push({
      name,
      source: { kind: "file", path: file?.path ?? "", line },
      problem: `${name} ${problem}`,
    });
  }
  return mistakes;
}

/**
 * Variables that look like ours and are not. Only worth a warning: a cluster may set BAAAHT_PORT for a service that
 * happens to have our name.
 */
export function unknownVariables(env: Layers["env"]): readonly string[] {
  const known = new Set([CONFIG_VARIABLE, ...namedSettings.flatMap(({ environment }) => environment)]);
  return Object.entries(env)
    .filter(([name, value]) => name.startsWith("BAAAHT_") && value !== undefined && !known.has(name))
    .map(([name]) => `${name} is set and is not a setting${suggestion(name, known)}`);
}

interface Given {
  readonly raw: unknown;
  readonly source: Source;
  readonly folder: string;
}

function fromFlag({ setting: { flag } }: NamedSetting, { flags, cwd }: Layers): Given | undefined {
  const raw = flag === undefined ? undefined : flags[flag];
  return flag === undefined || raw === undefined
    ? undefined
    : { raw, source: { kind: "flag", flag }, folder: cwd };
}

function fromEnvironment({ environment }: NamedSetting, { env, cwd }: Layers): Given | undefined {
  const variable = environment.find((name) => env[name]);
  if (variable === undefined) return undefined;
  return { raw: env[variable], source: { kind: "environment", variable }, folder: cwd };
}

function fromFile({ name }: NamedSetting, { file }: Layers): Given | undefined {
  const entry = file?.entries.find((one) => one.name === name);
  if (file === undefined || entry === undefined) return undefined;
  return {
    raw: entry.value,
    source: { kind: "file", path: file.path, line: entry.line },
    folder: dirname(file.path),
  };
}

function ways({ name, environment, setting }: NamedSetting): string {
  const flag = setting.flag === undefined ? [] : [sourceText({ kind: "flag", flag: setting.flag })];
  return [...flag, ...environment.slice(0, 1), `${name} in the file`].join(", ");
}

function suggestion(word: string, names: Iterable<string>): string {
  const all = [...names];
  // A key that was written outside its section.
  const inSection = all.filter((name) => name.endsWith(`.${word}`));
  const near = inSection.length === 1 ? inSection[0] : nearestName(word, all);
  return near === undefined ? "" : `; did you mean ${near}?`;
}

function excerpt(raw: unknown): string {
  const text = raw instanceof Date ? raw.toISOString() : (JSON.stringify(raw) ?? String(raw));
  return text.length <= 100 ? text : `${text.slice(0, 100)}… (${text.length} characters)`;
}
