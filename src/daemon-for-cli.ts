import type { Server, ServerFlags } from "./cli/shell.ts";

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
  settings: async () => {
    const { namedSettings } = await import("./daemon/setting-names.ts");
    const host = { uid: process.getuid?.() ?? -1, env: process.env };
    return namedSettings.flatMap(({ setting }) => {
      if (setting.flag === undefined) return [];
      const fallback = setting.fallback(host);
      return {
        flag: setting.flag,
        about: setting.doc,
        placeholder: setting.kind.toUpperCase(),
        fallback: setting.defaultDoc ?? (fallback === undefined ? undefined : setting.write(fallback)),
        isPath: setting.kind === "path",
      };
    });
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

async function configuration(flags: ServerFlags | Readonly<Record<string, string | undefined>>) {
  const [config, { readConfigFile }] = await Promise.all([
    import("./daemon/config.ts"),
    import("./daemon/config-file.ts"),
  ]);
  return [config, { flags, env: process.env, readFile: readConfigFile }] as const;
}
