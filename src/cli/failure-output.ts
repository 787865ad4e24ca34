import type { JsonValue } from "@bufbuild/protobuf";
import { Failure } from "../failure.ts";
import { painted, printable } from "./cell.ts";
import { USAGE } from "./flag.ts";
import { FORMATS, type Format, hasColours, serialised } from "./output.ts";
import { ClosedOutput, FailedOutput, type Shell } from "./shell.ts";

export interface Told {
  readonly args: readonly string[];
  /** The words that name the command, without the program's own. */
  readonly path: readonly string[];
}

/** Tells on stderr what went wrong, in the format that the arguments ask for. Nobody there to read is nothing to tell. */
export async function tellFailure(error: unknown, { args, path }: Told, shell: Shell): Promise<void> {
  if (error instanceof ClosedOutput) return;
  const failure = Failure.from(error);
  const format = formatIn(args);
  const text =
    format === "table"
      ? failureText(failure ?? error, {
          verbose: isVerbose(args),
          path,
          colours: hasColours(shell.err, shell.env),
        })
      : await serialised(
          { error: failure === undefined ? otherValue(error) : failureValue(failure) },
          format,
        );
  await shell.err.write(text).catch(() => undefined);
}

/** Found without the parser, which may be what failed. */
function formatIn(args: readonly string[]): Format {
  const end = args.indexOf("--");
  const words = end < 0 ? args : args.slice(0, end);
  for (const [index, word] of words.entries()) {
    const value =
      /^(?:--output=|-o=?)(.+)$/.exec(word)?.[1] ??
      (/^(?:--output|-o)$/.test(word) ? words[index + 1] : undefined);
    const format = FORMATS.find((one) => one === value);
    if (format !== undefined) return format;
  }
  return "table";
}

function isVerbose(args: readonly string[]): boolean {
  const end = args.indexOf("--");
  const words = end < 0 ? args : args.slice(0, end);
  // With something that is mounted behind it, the letter is --volume's.
  const isVolume = (index: number) => /[:/]/.test(words[index + 1] ?? "");
  return words.some((word, index) => word === "--verbose" || (word === "-v" && !isVolume(index)));
}

interface Style {
  readonly verbose: boolean;
  readonly colours: boolean;
  readonly path: readonly string[];
}

function failureText(error: unknown, { verbose, colours, path }: Style): string {
  const failure = Failure.from(error);
  const mark = painted({ text: "error:", tone: "bad" }, { colours });
  if (failure === undefined) return `${mark} ${otherText(error)}\n`;
  const lines = [`${mark} ${failure.message.split("\n").map(printable).join("\n")}`];
  if (failure.details.reason === USAGE) lines.push(`hint: ${["baaaht", ...path, "--help"].join(" ")}`);
  if (failure.details.retryAfterMs !== undefined)
    lines.push(`hint: try again in ${failure.details.retryAfterMs / 1000} s`);
  if (verbose) lines.push(...verboseLines(failure));
  return `${lines.join("\n")}\n`;
}

function verboseLines(failure: Failure): readonly string[] {
  const { reason, metadata = {}, violations = [] } = failure.details;
  return [
    `  code: ${failure.kind.toUpperCase()}`,
    ...(reason === undefined || reason === USAGE ? [] : [`  reason: ${printable(reason)}`]),
    ...violations.map(({ field, description }) => `  ${printable(field)}: ${printable(description)}`),
    ...Object.entries(metadata).map(([key, value]) => `  ${printable(key)}: ${printable(value)}`),
  ];
}

/** What is no Failure: an output that takes no more, or a defect. */
function otherText(error: unknown): string {
  if (error instanceof FailedOutput) return error.message;
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return `This is a defect of baaaht's command line. ${stack}`;
}

function failureValue({ kind, message, details }: Failure): JsonValue {
  const { correlation_id: correlationId, ...metadata } = details.metadata ?? {};
  return {
    code: kind.toUpperCase(),
    message,
    ...(details.reason === undefined ? {} : { reason: details.reason }),
    ...(details.violations === undefined
      ? {}
      : { violations: details.violations.map((one) => ({ ...one })) }),
    ...(details.retryAfterMs === undefined ? {} : { retryAfterMs: details.retryAfterMs }),
    ...(Object.keys(metadata).length === 0 ? {} : { metadata }),
    ...(correlationId === undefined ? {} : { correlationId }),
  };
}

function otherValue(error: unknown): JsonValue {
  const [code, reason] =
    error instanceof FailedOutput ? ["RESOURCE_EXHAUSTED", "OUTPUT_FAILED"] : ["INTERNAL", "DEFECT"];
  return { code, reason, message: otherText(error) };
}
