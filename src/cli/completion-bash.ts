import type { CompletionNode, CompletionTree, CompletionValue } from "./completion-tree.ts";

/** A script for bash 4 and newer; needs no package of completions. */
export function bashCompletion({ nodes }: CompletionTree): string {
  return `# Completion of baaaht for bash. Made by: baaaht completion bash

_baaaht_ids() {
  local -a given=()
  local i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "\${COMP_WORDS[i]}" in
      --grpc-socket-path) given=(--grpc-socket-path "\${COMP_WORDS[i + 1]}") ;;
    esac
  done
  "\${COMP_WORDS[0]}" "$1" list --quiet --timeout 2s "\${given[@]}" 2>/dev/null
}

_baaaht_values() {
  case "$1" in
    file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    folder) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
    words) mapfile -t COMPREPLY < <(compgen -W "$2" -- "$cur") ;;
    none) COMPREPLY=() ;;
    *) mapfile -t COMPREPLY < <(compgen -W "$(_baaaht_ids "$1")" -- "$cur") ;;
  esac
}

_baaaht_flag() {
  case "$1 $2" in
${nodes.flatMap(flagCases).join("\n")}
    *) return 1 ;;
  esac
}

_baaaht() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" prev="" node="" word i count=0 rest=0
  COMPREPLY=()
  # --flag=value comes as three words
  [[ "$cur" == "=" ]] && cur=""
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="\${COMP_WORDS[i]}"
    [[ "$word" == "=" ]] && continue
    prev=""
    [[ "$word" == "--" ]] && { rest=1; break; }
    if [[ "$word" == -* ]]; then
      if _baaaht_flag "$node" "$word" takes; then
        prev="$word"
        [[ "\${COMP_WORDS[i + 1]}" == "=" ]] && ((i++))
        ((i++))
        if ((i < COMP_CWORD)); then prev=""; fi
      fi
      continue
    fi
    case "$node $word" in
${nodes.flatMap(childCases).join("\n")}
      *) ((count++)) ;;
    esac
  done
  ((rest)) && { compopt -o default 2>/dev/null; return; }
  if [[ -n "$prev" ]]; then
    _baaaht_flag "$node" "$prev" complete
    return
  fi
  if [[ "$cur" == -* ]]; then
    case "$node" in
${nodes.map((node) => `      ${quoted(node.path)}) _baaaht_values words ${quoted(titles(node).join(" "))} ;;`).join("\n")}
    esac
    return
  fi
  case "$node:$count" in
${nodes.flatMap(wordCases).join("\n")}
  esac
}

complete -F _baaaht baaaht
`;
}

function flagCases({ path, flags }: CompletionNode): readonly string[] {
  return flags.flatMap(({ title, short, value }) => {
    if (value === undefined) return [];
    const patterns = [title, ...(short === undefined ? [] : [short])].map((name) =>
      quoted(`${path} ${name}`),
    );
    return `    ${patterns.join(" | ")}) [[ "$3" == takes ]] || ${completing(value)} ;;`;
  });
}

function childCases({ path, children }: CompletionNode): readonly string[] {
  return children.map(({ name }) => {
    const below = path === "" ? name : `${path} ${name}`;
    return `      ${quoted(`${path} ${name}`)}) node=${quoted(below)} ;;`;
  });
}

function wordCases({ path, children, words }: CompletionNode): readonly string[] {
  if (children.length > 0) {
    return [
      `    ${quoted(path)}:*) _baaaht_values words ${quoted(children.map(({ name }) => name).join(" "))} ;;`,
    ];
  }
  return words.map((value, index) => {
    const count = index === words.length - 1 ? "*" : String(index);
    return `    ${quoted(path)}:${count}) ${completing(value)} ;;`;
  });
}

function completing({ choices, completes }: CompletionValue): string {
  if (choices.length > 0) return `_baaaht_values words ${quoted(choices.join(" "))}`;
  return `_baaaht_values ${completes ?? "none"}`;
}

function titles({ flags }: CompletionNode): readonly string[] {
  return flags.flatMap(({ title, short }) => (short === undefined ? [title] : [title, short]));
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
