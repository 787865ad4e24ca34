import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { Failure } from "../../failure.ts";

/** Where a Docker engine listens and what it takes to talk to it. */
export type Endpoint =
  | { readonly kind: "unix"; readonly name: string; readonly socketPath: string }
  | {
      readonly kind: "tcp";
      readonly name: string;
      readonly host: string;
      readonly port: number;
      readonly pathPrefix: string;
      readonly tls?: EndpointTls;
    };

interface EndpointTls {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  /** Whether the engine has to prove who it is. */
  readonly verify: boolean;
}

export interface EndpointOptions {
  /** As in DOCKER_HOST; wins over it. */
  readonly dockerHost?: string | undefined;
  /** The process's own when absent. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** Where an engine of the system listens when nobody said anything else. */
const SYSTEM_SOCKET = "/var/run/docker.sock";
const PODMAN_SOCKET = "/run/podman/podman.sock";

/**
 * Finds the engine's endpoint as Docker's own client does: the given host, DOCKER_HOST, or the first of the usual sockets
 * that is there, Docker's before Podman's; TLS for tcp by DOCKER_TLS_VERIFY and DOCKER_CERT_PATH. Docker's contexts are not read.
 *
 * @throws Failure invalid_argument for a host that is not one, or certificates that can't be read.
 */
export function findEndpoint(options: EndpointOptions = {}): Endpoint {
  const env = options.env ?? process.env;
  const given = options.dockerHost || env.DOCKER_HOST;
  if (!given) return unixEndpoint(usualSockets(env).find((path) => existsSync(path)) ?? SYSTEM_SOCKET);
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(given)?.[1]?.toLowerCase();
  switch (scheme) {
    case "unix":
      return unixEndpoint(given.slice("unix://".length) || SYSTEM_SOCKET);
    case "tcp":
    case "http":
    case "https":
      return tcpEndpoint(given, scheme, env);
    case undefined:
      return given.startsWith("/") ? unixEndpoint(given) : tcpEndpoint(`tcp://${given}`, "tcp", env);
    case "ssh":
      throw unusable(
        given,
        "ssh is not spoken here; forward the engine's socket with `ssh -L` and name that socket",
      );
    default:
      throw unusable(given, "only unix://, tcp://, http:// and https:// are understood");
  }
}

function usualSockets(env: Readonly<Record<string, string | undefined>>): readonly string[] {
  const runtimeDir = env.XDG_RUNTIME_DIR;
  return [
    SYSTEM_SOCKET,
    ...(runtimeDir ? [join(runtimeDir, "docker.sock")] : []),
    join(env.HOME || homedir(), ".docker/run/docker.sock"),
    PODMAN_SOCKET,
    ...(runtimeDir ? [join(runtimeDir, "podman/podman.sock")] : []),
  ];
}

function unixEndpoint(socketPath: string): Endpoint {
  return { kind: "unix", name: `unix://${socketPath}`, socketPath };
}

function tcpEndpoint(
  given: string,
  scheme: string,
  env: Readonly<Record<string, string | undefined>>,
): Endpoint {
  const url = URL.parse(given.replace(/^[a-z]+:/i, "http:"));
  if (url === null || url.hostname === "")
    throw unusable(given, "it is not a URL such as tcp://engine.example:2376");
  const tls = scheme === "http" ? undefined : findTls(given, scheme, env);
  // URL drops the port that http itself would use; it counts when it was written.
  const written = /^[^/]*\/\/[^/]*:(\d+)/.exec(given)?.[1];
  return {
    kind: "tcp",
    name: given,
    host: url.hostname.replace(/^\[|\]$/g, ""),
    port: written === undefined ? (tls === undefined ? 2375 : 2376) : Number(written),
    pathPrefix: url.pathname.replace(/\/+$/, ""),
    ...(tls === undefined ? {} : { tls }),
  };
}

/** DOCKER_TLS_VERIFY asks for a checked engine; DOCKER_CERT_PATH alone for an encrypted, unchecked one. */
function findTls(
  given: string,
  scheme: string,
  env: Readonly<Record<string, string | undefined>>,
): EndpointTls | undefined {
  const verify = Boolean(env.DOCKER_TLS_VERIFY) || scheme === "https";
  const folder = env.DOCKER_CERT_PATH || (verify ? join(env.HOME || homedir(), ".docker") : undefined);
  if (folder === undefined) return undefined;
  const read = (name: string): string | undefined => {
    const path = join(folder, name);
    if (!existsSync(path)) {
      if (env.DOCKER_CERT_PATH)
        throw unusable(given, `DOCKER_CERT_PATH is "${folder}", and it has no ${name}`);
      return undefined;
    }
    try {
      return readFileSync(path, "utf8");
    } catch (cause) {
      throw unusable(given, `"${path}" can't be read`, cause);
    }
  };
  const ca = read("ca.pem");
  const cert = read("cert.pem");
  const key = read("key.pem");
  return {
    verify,
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  };
}

function unusable(given: string, why: string, cause?: unknown): Failure {
  return new Failure("invalid_argument", `Cannot use container engine "${given}": ${why}`, {
    reason: "RUNTIME_ENDPOINT_INVALID",
    cause,
  });
}
