import type { Setting } from "./setting.ts";
import { settings } from "./settings.ts";

/** A setting with what it is called wherever it can be given. */
export interface NamedSetting {
  /** As in a file and in messages: `grpc.socket-path`. */
  readonly name: string;
  /** Where its value stands in the `Config`. */
  readonly path: readonly string[];
  /** The first one that is set wins. */
  readonly environment: readonly string[];
  readonly setting: Setting;
}

/** Names the configuration file itself, so it can't stand in one. */
export const CONFIG_VARIABLE = "BAAAHT_CONFIG";
export const CONFIG_FLAG = "config";

/** Every setting of the table, in its order. */
export const namedSettings: readonly NamedSetting[] = namesIn(settings, []);

function namesIn(table: object, above: readonly string[]): readonly NamedSetting[] {
  return Object.entries(table).flatMap(([key, entry]: [string, object]) => {
    const path = [...above, key];
    if (!isSetting(entry)) return namesIn(entry, path);
    const name = path
      .map(kebab)
      .join(".")
      .replace(entry.kind === "duration" ? /-ms$/ : /$^/, "");
    const variable = `BAAAHT_${name.replace(/[.-]/g, "_").toUpperCase()}`;
    return [{ name, path, environment: [variable, ...entry.environment], setting: entry }];
  });
}

function isSetting(entry: object): entry is Setting {
  return "kind" in entry && typeof entry.kind === "string";
}

function kebab(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
