import { flagTitle } from "./command.ts";
import { anyText, type Flag, text, toggle } from "./flag.ts";
import type { Server, ServerFlags, ServerSetting } from "./shell.ts";

/** What stands on the command line for a setting: words, or that a switch was given. */
type SettingFlag = Flag<string | undefined> | Flag<boolean>;

/** A flag for each setting of the server that has one, and `--config`. What their values may be is for it to say. */
export async function serverFlags(server: Server): Promise<Readonly<Record<string, SettingFlag>>> {
  return {
    config: text({
      about: "the configuration file, in TOML",
      placeholder: "PATH",
      completes: "file",
      variable: CONFIG_VARIABLE,
    }),
    ...settingFlags(await server.settings()),
  };
}

/** A flag for each of the settings. */
export function settingFlags(settings: readonly ServerSetting[]): Readonly<Record<string, SettingFlag>> {
  return Object.fromEntries(settings.map((setting) => [camelCase(setting.flag), flagFor(setting)]));
}

/** What was typed, by the flags' names without dashes. */
export function serverFlagsGiven(
  flags: Readonly<Record<string, unknown>>,
  declared: Readonly<Record<string, unknown>>,
): ServerFlags {
  return Object.fromEntries(
    Object.keys(declared).flatMap((name) => {
      const value = flags[name] === true ? "on" : flags[name];
      return typeof value === "string" ? [[flagTitle(name).slice(2), value]] : [];
    }),
  );
}

function flagFor({ about, placeholder, fallback, isPath, isSwitch }: ServerSetting): SettingFlag {
  const words = uncapitalised(about);
  if (isSwitch) return toggle({ about: words.replace(/^whether /, "") });
  return {
    ...anyText({ about: words, placeholder, ...(isPath ? { completes: "file" } : {}) }),
    ...(fallback === undefined ? {} : { fallback }),
  };
}

const CONFIG_VARIABLE = "BAAAHT_CONFIG";

function camelCase(flag: string): string {
  return flag.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

function uncapitalised(sentence: string): string {
  const plain = sentence.replace(/\.$/, "");
  return /^[A-Z][a-z]/.test(plain) ? plain.slice(0, 1).toLowerCase() + plain.slice(1) : plain;
}
