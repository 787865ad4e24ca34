import type { Command, Group } from "../../src/cli/command.ts";
import { root } from "../../src/cli/root.ts";
import { QUIET_SHELL } from "./command-line.ts";

export interface NamedCommand {
  readonly path: readonly string[];
  readonly command: Command;
}

/** Every command of the tree. */
export async function allCommands(
  node: Command | Group = root,
  path: readonly string[] = [],
): Promise<readonly NamedCommand[]> {
  if (node.kind === "command") return [{ path, command: node }];
  const below: NamedCommand[] = [];
  for (const entry of node.entries) {
    below.push(...(await allCommands(await entry.load(QUIET_SHELL.server), [...path, entry.name])));
  }
  return below;
}
