import { Failure } from "../failure.ts";

/** Where a value stands. */
export type Source =
  | { readonly kind: "flag"; readonly flag: string }
  | { readonly kind: "environment"; readonly variable: string }
  | { readonly kind: "file"; readonly path: string; readonly line: number | undefined }
  | { readonly kind: "default" };

/** Something wrong with the configuration. `problem` is a sentence about `name`. */
export interface Mistake {
  readonly name: string;
  readonly source: Source;
  readonly problem: string;
}

/** As people name a place: `--data-dir`, `BAAAHT_DATA_DIR`, `/etc/baaaht/config.toml:3`, `default`. */
export function sourceText(source: Source): string {
  switch (source.kind) {
    case "flag":
      return `--${source.flag}`;
    case "environment":
      return source.variable;
    case "file":
      return source.line === undefined ? source.path : `${source.path}:${source.line}`;
    case "default":
      return "default";
  }
}

/** One Failure for all of them, a line each. */
export function mistakesFailure(mistakes: readonly Mistake[]): Failure {
  const count = mistakes.length === 1 ? "it has a mistake" : `it has ${mistakes.length} mistakes`;
  const lines = mistakes.map(({ source, problem }) => `  ${sourceText(source)}: ${problem}`);
  return new Failure("invalid_argument", `Cannot use the configuration: ${count}\n${lines.join("\n")}`, {
    reason: "CONFIG_INVALID",
    violations: mistakes.map(({ name, source, problem }) => ({
      field: name,
      description: `${problem} (${sourceText(source)})`,
    })),
  });
}
