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
    value: shown(one),
    source: sourceText(one.source),
    reloadable: one.setting.reloadable,
    doc: one.setting.doc,
  }));
}

/** What a second reading of the configuration found to be different. */
export interface ConfigChanges {
  /** Can be put into force at once. */
  readonly applied: readonly ConfigChange[];
  /** Wait for the next start. */
  readonly deferred: readonly ConfigChange[];
}

export interface ConfigChange {
  readonly name: string;
  readonly before: string;
  readonly after: string;
}

/** What SIGHUP changes of a running server. */
export function changesBetween(
  running: Pick<LoadedConfig, "values">,
  reread: Pick<LoadedConfig, "values">,
): ConfigChanges {
  const applied: ConfigChange[] = [];
  const deferred: ConfigChange[] = [];
  for (const after of reread.values) {
    const before = running.values.find(({ name }) => name === after.name);
    if (before === undefined || before.value === after.value) continue;
    const change = { name: after.name, before: shown(before), after: shown(after) };
    (after.setting.reloadable ? applied : deferred).push(change);
  }
  return { applied, deferred };
}

function shown({ setting, value }: SettingValue): string {
  if (setting.secret) return value === "" ? "" : "********";
  return setting.write(value);
}
