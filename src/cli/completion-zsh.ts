import type { CompletionFlag, CompletionNode, CompletionTree, CompletionValue } from "./completion-tree.ts";

/** A script for zsh's own completion system. */
export function zshCompletion({ nodes }: CompletionTree): string {
  return `#compdef baaaht
# Completion of baaaht for zsh. Made by: baaaht completion zsh

_baaaht_ids() {
  local -a ids given
  local -i at=\${words[(I)--grpc-socket-path]}
  ((at)) && given=(--grpc-socket-path "\${words[at + 1]}")
  # options for compadd come before the noun
  ids=(\${(f)"$(baaaht \${@[-1]} list --quiet --timeout 2s $given 2>/dev/null)"})
  compadd "\${@[1,-2]}" -a ids
}

${nodes.map(nodeFunction).join("\n")}
if [[ "$funcstack[1]" == "_baaaht" ]]; then
  _baaaht "$@"
else
  compdef _baaaht baaaht
fi
`;
}

function nodeFunction(node: CompletionNode): string {
  return node.children.length > 0 ? groupFunction(node) : commandFunction(node);
}

function groupFunction({ path, children }: CompletionNode): string {
  const described = children.map(
    ({ name, summary }) => `    ${quoted(`${name}:${summary.replaceAll(":", "\\:")}`)}`,
  );
  const cases = children.map(
    ({ name }) => `      ${name}) ${functionName(path === "" ? name : `${path} ${name}`)} ;;`,
  );
  return `${functionName(path)}() {
  local curcontext="$curcontext" state line
  local -a commands=(
${described.join("\n")}
  )
  _arguments -C '(-h --help)'{-h,--help}'[say this]' '1: :->command' '*:: :->rest'
  case $state in
    command) _describe command commands ;;
    rest) case $line[1] in
${cases.join("\n")}
    esac ;;
  esac
}
`;
}

function commandFunction({ path, flags, words }: CompletionNode): string {
  const specs = [
    ...flags.map(flagSpec),
    ...words.map((value, index) =>
      quoted(`${index === words.length - 1 ? "*" : index + 1}: :${action(value)}`),
    ),
  ];
  return `${functionName(path)}() {
  _arguments -s \\
    ${specs.join(" \\\n    ")}
}
`;
}

function flagSpec({ title, short, about, value }: CompletionFlag): string {
  const text = about.replace(/[[\]:\\]/g, (character) => `\\${character}`);
  const rest = value === undefined ? `[${text}]` : `[${text}]: :${action(value)}`;
  const long = value === undefined ? title : `${title}=`;
  return short === undefined
    ? quoted(`*${long}${rest}`)
    : `${quoted(`(${short} ${title})`)}{${value === undefined ? short : `${short}+`},${long}}${quoted(rest)}`;
}

function action({ choices, completes }: CompletionValue): string {
  if (choices.length > 0) return `(${choices.join(" ")})`;
  switch (completes) {
    case "file":
      return "_files";
    case "folder":
      return "_files -/";
    case undefined:
      return " ";
    default:
      return `_baaaht_ids ${completes}`;
  }
}

function functionName(path: string): string {
  return ["_baaaht", ...path.split(" ").filter((part) => part !== "")].join("_");
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
