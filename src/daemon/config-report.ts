import type { LoadedConfig } from "./config.ts";
import type { SettingValue } from "./config-layers.ts";
import { sourceText } from "./config-mistakes.ts";

/** One setting in words, as `config show` prints it. */
export interface SettingReport {
  readonly name: string;
  /** As one would write it in a file; stars for a secret that is set. */
  readonly value: string;
  readonly source: string;
  readonly reloadable: boolean;
  readonly doc: string;
}

/** Every setting of a configuration with where its value came from. Secrets are masked. */
export function describe(loaded: Pick<LoadedConfig<unknown>, "values">): readonly SettingReport[] {
  return loaded.values.map((one) => ({
    name: one.name,
    value: shownValue(one),
    source: sourceText(one.source),
    reloadable: one.setting.reloadable,
    doc: one.setting.doc,
  }));
}

/** The value as one would write it, or stars. */
export function shownValue({ setting, value }: SettingValue): string {
  if (setting.secret) return value === "" ? "" : "********";
  return setting.write(value).replace(PASSWORD_IN_URL, "$1********@");
}

/** As in `https://name:password@host`. */
const PASSWORD_IN_URL = /(:\/\/[^/?#@:\s]*:)[^/?#\s]*@/g;
