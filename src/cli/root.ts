import type { Group } from "./command.ts";

/** Every command there is. A noun's file is loaded when it is called. */
export const root: Group = {
  kind: "group",
  name: "baaaht",
  summary: "sessions, containers and one log of all that happens, for programs that run AI agents",
  entries: [
    {
      name: "serve",
      summary: "start the server",
      load: async (server) => (await import("./serve.ts")).serveCommand(server),
    },
    {
      name: "run",
      summary: "run a command in a fresh container of a fresh session",
      load: async () => (await import("./run.ts")).runCommand,
    },
    {
      name: "session",
      summary: "create, list, get, update and close sessions",
      load: async () => (await import("./session.ts")).sessionGroup,
    },
    {
      name: "message",
      summary: "send and list the messages of a session",
      load: async () => (await import("./message.ts")).messageGroup,
    },
    {
      name: "chat",
      summary: "talk with the assistant",
      load: async () => (await import("./chat.ts")).chatCommand,
    },
    {
      name: "assistant",
      summary: "answer conversations",
      load: async (server) => (await import("./assistant.ts")).assistantGroup(server),
    },
    {
      name: "gateway",
      summary: "look after the sessions of user interfaces",
      nouns: 2,
      load: async () => (await import("./gateway.ts")).gatewayGroup,
    },
    {
      name: "container",
      summary: "create containers, run commands in them, read their logs",
      load: async () => (await import("./container.ts")).containerGroup,
    },
    {
      name: "image",
      summary: "fetch images",
      load: async () => (await import("./image.ts")).imageGroup,
    },
    {
      name: "exec",
      summary: "list, join and end commands that run in containers",
      load: async () => (await import("./exec.ts")).execGroup,
    },
    {
      name: "task",
      summary: "have workers do tasks",
      load: async () => (await import("./task.ts")).taskGroup,
    },
    {
      name: "agent",
      summary: "be a worker; list agents, and sign them off",
      load: async () => (await import("./agent.ts")).agentGroup,
    },
    {
      name: "event",
      summary: "follow the log of all that happens",
      load: async () => (await import("./event.ts")).eventGroup,
    },
    {
      name: "health",
      summary: "ask whether the server serves, for probes",
      load: async () => (await import("./health.ts")).healthCommand,
    },
    {
      name: "status",
      summary: "say what the server has in hand",
      load: async () => (await import("./status.ts")).statusCommand,
    },
    {
      name: "config",
      summary: "show and check the server's configuration",
      load: async (server) => (await import("./config.ts")).configGroup(server),
    },
    {
      name: "version",
      summary: "say which version this is",
      load: async () => (await import("./version.ts")).versionCommand,
    },
    {
      name: "completion",
      summary: "write a completion script for a shell",
      load: async () => (await import("./completion.ts")).completionCommand,
    },
    {
      name: "help",
      summary: "explain a command",
      load: async () => (await import("./help-command.ts")).helpCommand,
    },
  ],
};
