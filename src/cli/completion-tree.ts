import { type Command, flagTitle, type Group } from "./command.ts";
import type { Completes, Flag } from "./flag.ts";
import { commonFlags } from "./global-flags.ts";
import { flagAbout } from "./help.ts";
import type { Server } from "./shell.ts";

/** What a completion script has to know of a command or a noun. */
export interface CompletionNode {
  /** The words that name it, without the program's own: `session create`. */
  readonly path: string;
  readonly children: readonly { readonly name: string; readonly summary: string }[];
  readonly flags: readonly CompletionFlag[];
  /** What its words may be, in order; the last one stands for all that follow. */
  readonly words: readonly CompletionValue[];
}

export interface CompletionFlag {
  /** With its dashes. */
  readonly title: string;
  /** With its dash. */
  readonly short: string | undefined;
  readonly about: string;
  /** Undefined for a switch. */
  readonly value: CompletionValue | undefined;
}

export interface CompletionValue {
  readonly choices: readonly string[];
  readonly completes: Completes | undefined;
}

export interface CompletionTree {
  readonly nodes: readonly CompletionNode[];
}

/** Everything that can be typed. */
export async function completionTree(root: Group, server: Server): Promise<CompletionTree> {
  return { nodes: await nodesOf(root, { path: [], server }) };
}

async function nodesOf(
  node: Command | Group,
  { path, server }: { readonly path: readonly string[]; readonly server: Server },
): Promise<readonly CompletionNode[]> {
  if (node.kind === "command") return [commandNode(node, path)];
  const children = node.entries.map(({ name, summary }) => ({ name, summary }));
  const below = await Promise.all(
    node.entries.map(
      async (entry) => await nodesOf(await entry.load(server), { path: [...path, entry.name], server }),
    ),
  );
  const flags = [...Object.entries(commonFlags).map(completionFlag), HELP];
  return [{ path: path.join(" "), children, flags, words: [] }, ...below.flat()];
}

function commandNode(command: Command, path: readonly string[]): CompletionNode {
  return {
    path: path.join(" "),
    children: [],
    flags: [...Object.entries(command.flags).map(completionFlag), HELP],
    words: Object.values(command.words).map(({ choices = [], completes }) => ({ choices, completes })),
  };
}

function completionFlag([name, flag]: [string, Flag<unknown>]): CompletionFlag {
  return {
    title: flagTitle(name),
    short: flag.short === undefined ? undefined : `-${flag.short}`,
    about: flagAbout(flag),
    value:
      flag.placeholder === undefined ? undefined : { choices: flag.choices ?? [], completes: flag.completes },
  };
}

const HELP: CompletionFlag = { title: "--help", short: "-h", about: "say this", value: undefined };
