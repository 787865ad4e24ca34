/** What a finished command left behind. `output` is stdout and stderr together, in the order they were read. */
export interface CommandResult {
  readonly exitCode: number;
  readonly output: string;
  readonly stdout: string;
  readonly durationMs: number;
}

export interface CommandOptions {
  readonly cwd?: string;
  readonly env?: Record<string, string | undefined>;
  /** Ends the command with SIGTERM. */
  readonly signal?: AbortSignal;
  /** `own`: Ctrl-C on our terminal does not reach it, so that `signal` alone decides when it ends. */
  readonly processGroup?: "ours" | "own";
  /** Gets each line as it is written, for commands that take long. */
  readonly onLine?: (line: string) => void;
}

/** Runs a command to its end with no stdin and collects what it wrote. A command that cannot be started answers 127. */
export async function runCommand(
  command: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const startedAt = performance.now();
  const chunks: string[] = [];
  const stdout: string[] = [];
  try {
    const child = Bun.spawn([...command], {
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
      env: { ...process.env, ...options.env },
      detached: options.processGroup === "own",
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
    await Promise.all([
      collect(child.stdout, [chunks, stdout], options.onLine),
      collect(child.stderr, [chunks], options.onLine),
    ]);
    const exitCode = await child.exited;
    return result(exitCode);
  } catch (error) {
    chunks.push(`Cannot run "${command[0]}": ${error instanceof Error ? error.message : String(error)}\n`);
    return result(127);
  }

  function result(exitCode: number): CommandResult {
    const durationMs = performance.now() - startedAt;
    return { exitCode, output: chunks.join(""), stdout: stdout.join(""), durationMs };
  }
}

async function collect(
  stream: ReadableStream<Uint8Array>,
  into: readonly string[][],
  onLine: ((line: string) => void) | undefined,
): Promise<void> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const bytes of stream) {
    const text = decoder.decode(bytes, { stream: true });
    for (const sink of into) sink.push(text);
    if (onLine === undefined) continue;
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) onLine(line);
  }
  if (onLine !== undefined && rest !== "") onLine(rest);
}
