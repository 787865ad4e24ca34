import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import { connect } from "node:net";
import { Failure } from "../failure.ts";
import type { Address } from "./address.ts";

/** The reason of the Failures that say that there is no connection. */
export const UNREACHABLE = "UNREACHABLE";

/**
 * Why there is no connection to `address`: UNAVAILABLE, or PERMISSION_DENIED when this user may not open the socket, with
 * the reason UNREACHABLE; DEADLINE_EXCEEDED when the call allowed too little time. Finds it out by looking and by connecting once (at most a second), because gRPC does not tell.
 */
export async function unreachable(address: Address, waited: Waited): Promise<Failure> {
  const obstacle = await obstacleOf(address);
  if (obstacle !== undefined) {
    const kind = obstacle === NOT_ALLOWED ? "permission_denied" : "unavailable";
    return new Failure(kind, `Cannot reach baaaht at ${address.text}: ${obstacle}`, { reason: UNREACHABLE });
  }
  const seconds = waited.ms < 100 ? waited.ms / 1000 : Math.ceil(waited.ms / 100) / 10;
  const [kind, time] =
    waited.for === "the call"
      ? (["deadline_exceeded", ", the call's own time"] as const)
      : (["unavailable", ""] as const);
  const state = `it accepts connections but did not answer as gRPC within ${seconds} s${time}`;
  return new Failure(kind, `Cannot reach baaaht at ${address.text}: ${state}`, { reason: UNREACHABLE });
}

/** How long was waited for a connection, and whose time that was. */
export interface Waited {
  readonly ms: number;
  readonly for: "the call" | "a connection";
}

const NOT_ALLOWED = "permission denied (its socket is for the user who runs the server)";
const PROBE_MS = 1000;

async function obstacleOf(address: Address): Promise<string | undefined> {
  if (address.kind === "tcp") return words(await refusalOf({ host: address.host, port: address.port }));
  try {
    const file = await stat(address.path);
    if (!file.isSocket()) return "the file is there, but it is not a socket";
    await access(address.path, constants.W_OK);
  } catch (error) {
    return words(codeOf(error));
  }
  const code = await refusalOf({ path: address.path });
  return code === "ECONNREFUSED"
    ? "the socket is there, but nobody listens (is `baaaht serve` running?)"
    : words(code);
}

function words(code: string | undefined): string | undefined {
  switch (code) {
    case "ENOENT":
    case "ENOTDIR":
      return "no such file (is `baaaht serve` running?)";
    case "EACCES":
    case "EPERM":
      return NOT_ALLOWED;
    case "ECONNREFUSED":
      return "connection refused (is `baaaht serve` running?)";
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return "no such host";
    case "ETIMEDOUT":
      return "no answer to the attempt to connect";
    default:
      return code;
  }
}

/** The code with which the system refuses a connection, or `undefined` when it does not. */
function refusalOf(to: { path: string } | { host: string; port: number }): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect(to);
    const end = (code: string | undefined) => {
      socket.destroy();
      resolve(code);
    };
    socket.setTimeout(PROBE_MS, () => end("ETIMEDOUT"));
    socket.once("connect", () => end(undefined));
    socket.once("error", (error) => end(codeOf(error)));
  });
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : String(error);
}
