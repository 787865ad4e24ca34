import type { LoadedConfig } from "./config.ts";
import { shownValue } from "./config-report.ts";
import { shapeConfig } from "./config-shape.ts";

/** What a running server makes of a configuration that was read again. */
export interface Reload {
  /** What is in force from now on: the new values where they can change while serving, the old ones elsewhere. */
  readonly loaded: LoadedConfig;
  readonly applied: readonly ConfigChange[];
  /** Changes that wait for the next start. */
  readonly deferred: readonly ConfigChange[];
}

interface ConfigChange {
  readonly name: string;
  readonly before: string;
  readonly after: string;
}

/** Puts into force what the table of settings calls reloadable. */
export function reloadConfig(running: LoadedConfig, reread: LoadedConfig): Reload {
  const applied: ConfigChange[] = [];
  const deferred: ConfigChange[] = [];
  const values = running.values.map((before) => {
    const after = reread.values.find(({ name }) => name === before.name);
    if (after === undefined || after.value === before.value) return before;
    const change = { name: after.name, before: shownValue(before), after: shownValue(after) };
    (after.setting.reloadable ? applied : deferred).push(change);
    return after.setting.reloadable ? after : before;
  });
  return { loaded: { ...reread, values, config: shapeConfig(values) }, applied, deferred };
}
