import type { CompletionFlag, CompletionNode, CompletionTree, CompletionValue } from "./completion-tree.ts";

/** A script for fish 3 and newer. */
export function fishCompletion({ nodes }: CompletionTree): string {
  const valued = nodes.flatMap(({ flags }) => flags).filter(({ value }) => value !== undefined);
  const names = new Set(
    valued.flatMap(({ title, short }) => (short === undefined ? [title] : [title, short])),
  );
  return `# Completion of baaaht for fish. Made by: baaaht completion fish

# The words that are neither flags nor their values.
function __baaaht_words
    set -l skip 0
    for word in (commandline -opc)[2..-1]
        if test $skip -eq 1
            set skip 0
        else if contains -- $word ${[...names].join(" ")}
            set skip 1
        else if not string match -q -- '-*' $word
            echo $word
        end
    end
end

function __baaaht_is
    set -l words (__baaaht_words)
    test "$words[1..$(count $argv)]" = "$argv"
end

function __baaaht_at
    set -l words (__baaaht_words)
    test (count $words) -eq (count $argv); and test "$words" = "$argv"
end

function __baaaht_ids
    baaaht $argv[1] list --quiet --timeout 2s 2>/dev/null
end

complete -c baaaht -f
${nodes.flatMap(nodeLines).join("\n")}
`;
}

function nodeLines(node: CompletionNode): readonly string[] {
  const { path, children, flags, words } = node;
  const at = quoted(`__baaaht_at ${path}`.trim());
  // Common flags may stand before a command's name; behind it there are its own.
  const is = children.length > 0 ? at : quoted(`__baaaht_is ${path}`);
  const values = words.map((value) => valueArguments(value)).filter((text) => text !== "-x");
  return [
    ...children.map(({ name, summary }) => `complete -c baaaht -n ${at} -a ${name} -d ${quoted(summary)}`),
    ...flags.map((flag) => `complete -c baaaht -n ${is} ${flagArguments(flag)}`),
    ...values.map((text) => `complete -c baaaht -n ${is} ${text}`),
  ];
}

function flagArguments({ title, short, about, value }: CompletionFlag): string {
  const names = [`-l ${title.slice(2)}`, ...(short === undefined ? [] : [`-s ${short.slice(1)}`])].join(" ");
  return `${names} -d ${quoted(about)}${value === undefined ? "" : ` ${valueArguments(value)}`}`;
}

function valueArguments({ choices, completes }: CompletionValue): string {
  if (choices.length > 0) return `-x -a ${quoted(choices.join(" "))}`;
  switch (completes) {
    case "file":
      return "-r -F";
    case "folder":
      return `-x -a ${quoted("(__fish_complete_directories)")}`;
    case undefined:
      return "-x";
    default:
      return `-x -a ${quoted(`(__baaaht_ids ${completes})`)}`;
  }
}

function quoted(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}
