import { readFileSync } from "node:fs";
import { join } from "node:path";

/** How long one call to an engine may take unless the caller says otherwise. */
const CALL_TIMEOUT_MS = 30_000;

export interface EngineCall {
  readonly method?: "GET" | "POST" | "PUT" | "DELETE";
  /** Bytes, whole or as they come, are a tar archive; anything else is sent as JSON. */
  readonly body?: Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array> | Record<string, unknown>;
  readonly timeoutMs?: number;
}

/**
 * One call of the Docker Engine API, with nothing but Bun's fetch: set-up runs before any dependency is installed.
 * `host` is as in DOCKER_HOST: unix:///path, tcp://host:port (with TLS when DOCKER_CERT_PATH is set), http(s)://.
 */
export async function callEngine(host: string, path: string, call: EngineCall = {}): Promise<Response> {
  const { url, ...transport } = reach(host);
  const { body } = call;
  const raw = body instanceof Uint8Array || body instanceof ReadableStream;
  return await fetch(`${url}${path}`, {
    ...transport,
    method: call.method ?? "GET",
    signal: AbortSignal.timeout(call.timeoutMs ?? CALL_TIMEOUT_MS),
    ...(body === undefined
      ? {}
      : {
          body: raw ? body : JSON.stringify(body),
          headers: { "content-type": raw ? "application/x-tar" : "application/json" },
        }),
  });
}

/** Undefined when the engine answers, else the reason in words. */
export async function whyUnusable(host: string): Promise<string | undefined> {
  try {
    const ping = await callEngine(host, "/_ping", { timeoutMs: 5_000 });
    const text = await ping.text();
    if (ping.status !== 200) return `it answers ${ping.status}: ${text.trim()}`;
    const system = ping.headers.get("ostype");
    return system === null || system === "linux" ? undefined : `it runs ${system} containers, not linux ones`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function reach(host: string): {
  url: string;
  unix?: string;
  tls?: { cert: string; key: string; ca: string };
} {
  if (host.startsWith("unix://")) return { url: "http://engine", unix: host.slice("unix://".length) };
  if (!host.startsWith("tcp://")) return { url: host };
  const address = host.slice("tcp://".length);
  const certificates = process.env.DOCKER_CERT_PATH;
  if (certificates === undefined || certificates === "") return { url: `http://${address}` };
  const read = (name: string): string => readFileSync(join(certificates, name), "utf8");
  return {
    url: `https://${address}`,
    tls: { cert: read("cert.pem"), key: read("key.pem"), ca: read("ca.pem") },
  };
}
