import type { Client } from "../client/client.ts";
import {
  type Command,
  command,
  type Declaration,
  type Input,
  type Words,
  withoutLetters,
} from "./command.ts";
import type { Flags } from "./flag.ts";
import { clientFlags } from "./global-flags.ts";
import { type Printer, printer } from "./output.ts";
import type { Shell } from "./shell.ts";

type ClientFlags = typeof clientFlags;

interface ClientInput<F extends Flags, W extends Words> extends Input<F & ClientFlags, W> {
  readonly client: Client;
  readonly print: Printer;
}

interface ClientDeclaration<F extends Flags, W extends Words> extends Omit<Declaration<F, W>, "run"> {
  /** How long a call may take unless `--timeout` says otherwise, where that is not the client's own 10 s. Milliseconds; 0 is for ever. */
  readonly callTimeoutMs?: number;
  /** Whether `--timeout` means something of the command's own, and calls have the time of `callTimeoutMs`. */
  readonly timeoutIsOwn?: true;
  readonly run: (input: ClientInput<F, W>) => Promise<number>;
}

/** A command that asks a server: it has the common flags, is connected when it runs, and disconnected when it is done. */
export function clientCommand<F extends Flags, W extends Words>(
  declaration: ClientDeclaration<F, W>,
): Command {
  const { run, flags, callTimeoutMs, timeoutIsOwn, ...rest } = declaration;
  return command<F & ClientFlags, W>({
    ...rest,
    flags: withoutLetters(clientFlags, flags),
    run: async (input) => {
      const common = input.flags as Input<ClientFlags, W>["flags"]; // an own flag of the same name has the same type
      const timeoutMs = timeoutIsOwn === true ? callTimeoutMs : (common.timeout ?? callTimeoutMs);
      await using client = await connectTo(input.shell, { socketPath: common.grpcSocketPath, timeoutMs });
      return await run({ ...input, client, print: printer(input.shell, common) });
    },
  });
}

interface Connecting {
  readonly socketPath: string | undefined;
  readonly timeoutMs: number | undefined;
}

async function connectTo(shell: Shell, { socketPath, timeoutMs }: Connecting): Promise<Client> {
  const settings = await shell.server.clientSettings(socketPath);
  const { connect } = await import("../client/client.ts");
  return connect({
    address: settings.address,
    dialTimeoutMs: settings.dialTimeoutMs,
    callTimeoutMs: timeoutMs ?? settings.callTimeoutMs,
    reconnectIntervalMs: settings.reconnectIntervalMs,
    reconnectMaxAttempts: settings.reconnectMaxAttempts,
  });
}
