import { flagTitle } from "./command.ts";
import { anyText, type Flag, text } from "./flag.ts";
import type { Server, ServerFlags } from "./shell.ts";

/** A flag for each setting of the server that has one, and `--config`. What their values may be is for it to say. */
export async function serverFlags(
  server: Server,
): Promise<Readonly<Record<string, Flag<string | undefined>>>> {
  const settings = await server.settings();
  const flags = settings.map(({ flag, about, placeholder, fallback, isPath }) => [
    camelCase(flag),
    {
      ...anyText({ about: uncapitalised(about), placeholder, ...(isPath ? { completes: "file" } : {}) }),
      ...(fallback === undefined ? {} : { fallback }),
    },
  ]);
  return {
    config: text({
      about: "the configuration file, in TOML",
      placeholder: "PATH",
      completes: "file",
      variable: CONFIG_VARIABLE,
    }),
    ...Object.fromEntries(flags),
  };
}

/** What was typed, by the flags' names without dashes. */
export function serverFlagsGiven(
  flags: Readonly<Record<string, unknown>>,
  declared: Readonly<Record<string, unknown>>,
): ServerFlags {
  return Object.fromEntries(
    Object.keys(declared).flatMap((name) => {
      const value = flags[name];
      return typeof value === "string" ? [[flagTitle(name).slice(2), value]] : [];
    }),
  );
}

const CONFIG_VARIABLE = "BAAAHT_CONFIG";

function camelCase(flag: string): string {
  return flag.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

function uncapitalised(sentence: string): string {
  const plain = sentence.replace(/\.$/, "");
  return /^[A-Z][a-z]/.test(plain) ? plain.slice(0, 1).toLowerCase() + plain.slice(1) : plain;
}
