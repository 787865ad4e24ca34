import { command, word } from "./command.ts";
import { bashCompletion } from "./completion-bash.ts";
import { fishCompletion } from "./completion-fish.ts";
import { type CompletionTree, completionTree } from "./completion-tree.ts";
import { zshCompletion } from "./completion-zsh.ts";
import { EXIT_CODES } from "./exit-codes.ts";
import { root } from "./root.ts";

const SCRIPTS: Readonly<Record<string, (tree: CompletionTree) => string>> = {
  bash: bashCompletion,
  zsh: zshCompletion,
  fish: fishCompletion,
};

export const completionCommand = command({
  name: "completion",
  summary: "write a completion script for a shell",
  words: { shell: word({ about: "the shell", choices: Object.keys(SCRIPTS) }) },
  flags: {},
  examples: [
    { about: "for bash, now and here", line: "source <(baaaht completion bash)" },
    { about: "for zsh, in a folder of $fpath", line: "baaaht completion zsh > ~/.zfunc/_baaaht" },
    { about: "for fish, for good", line: "baaaht completion fish > ~/.config/fish/completions/baaaht.fish" },
  ],
  run: async ({ words, shell }) => {
    const script = SCRIPTS[words.shell];
    if (script !== undefined) await shell.out.write(script(await completionTree(root, shell.server)));
    return EXIT_CODES.ok;
  },
});
