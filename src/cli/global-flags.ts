import { duration, type Flag, type Flags, text } from "./flag.ts";
import { outputFlags } from "./output.ts";

/** What every command that asks a server understands. */
export const clientFlags = {
  grpcSocketPath: text({
    about: "the server: the path of its socket (default /tmp/baaaht-grpc.sock; or GRPC_SOCKET_PATH)",
    placeholder: "PATH",
    completes: "file",
  }),
  timeout: duration({ about: "how long one call may take, 0 for ever (default 10s)" }),
  ...outputFlags,
} satisfies Flags;

/** Flags that many commands share: help lists them apart, and they may also stand before the command. */
export const commonFlags: Readonly<Record<string, Flag<unknown>>> = { ...clientFlags };

/** Whether a command's flag is one of these, be it without its letter, and not an own one of the same name. */
export function isCommonFlag([name, { read }]: readonly [string, Flag<unknown>]): boolean {
  return commonFlags[name]?.read === read;
}
