import type { Server, ServerFlags, ServerSetting } from "./cli/shell.ts";
import type { NamedSetting } from "./daemon/setting-names.ts";

/** What the command line has of the daemon. It is loaded by the commands that need it, so that all others start sooner. */
export const daemonForCli: Server = {
  clientSettings: async (socketPath) => {
    const [{ loadClientConfig }, inputs] = await configuration({ "grpc-socket-path": socketPath });
    const { grpc, client } = loadClientConfig(inputs).config;
    return {
      address: `unix://${grpc.socketPath}`,
      dialTimeoutMs: client.dialTimeoutMs,
      callTimeoutMs: client.callTimeoutMs,
      reconnectIntervalMs: client.reconnectIntervalMs,
      reconnectMaxAttempts: client.reconnectAttempts,
    };
  },
  settings: async () => flagged((await import("./daemon/setting-names.ts")).namedSettings),
  assistant: {
    settings: async () => flagged((await import("./daemon/config.ts")).assistantNamed),
    configuration: async (flags) => {
      const [{ loadAssistantConfig }, inputs] = await configuration(flags);
      return loadAssistantConfig(inputs).config.assistant;
    },
  },
  configuration: async (flags) => {
    const [{ loadConfig }, inputs] = await configuration(flags);
    const { describe } = await import("./daemon/config-report.ts");
    const loaded = loadConfig(inputs);
    const values = describe(loaded).map(({ name, value, source }) => ({ name, value, source }));
    return { values, file: loaded.file, warnings: loaded.warnings };
  },
  serve: async (flags, serving) => {
    const [{ loadConfig }, inputs] = await configuration(flags);
    const loaded = loadConfig(inputs);
    const { serve } = await import("./daemon/daemon.ts");
    await serve(loaded, { ...serving, reread: () => loadConfig(inputs) });
  },
};

/** Those that have a flag. */
function flagged(all: readonly NamedSetting[]): readonly ServerSetting[] {
  const host = { uid: process.getuid?.() ?? -1, env: process.env };
  return all.flatMap(({ setting }) => {
    if (setting.flag === undefined) return [];
    const fallback = setting.fallback(host);
    return {
      flag: setting.flag,
      about: setting.doc,
      placeholder: setting.kind.toUpperCase(),
      fallback: setting.defaultDoc ?? (fallback === undefined ? undefined : setting.write(fallback)),
      isPath: setting.kind === "path",
      isSwitch: setting.isSwitch,
    };
  });
}

async function configuration(flags: ServerFlags | Readonly<Record<string, string | undefined>>) {
  const [config, { readConfigFile }] = await Promise.all([
    import("./daemon/config.ts"),
    import("./daemon/config-file.ts"),
  ]);
  return [config, { flags, env: process.env, readFile: readConfigFile }] as const;
}
