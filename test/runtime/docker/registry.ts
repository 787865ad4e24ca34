import { gzipSync } from "bun";
import { tarArchive } from "../../../scripts/tar-archive.ts";

export interface TestRegistry extends Disposable {
  /** An image that it has, as the engine of this machine pulls it. */
  readonly image: string;
}

/** A registry on a free port of this machine with one image of one layer. Engines trust such an address without TLS. */
export function openRegistry(): TestRegistry {
  const archive = tarArchive([
    {
      kind: "file",
      path: "marker",
      mode: 0o644,
      content: Buffer.from(`${crypto.randomUUID()}\n`.repeat(4_096)),
    },
  ]);
  const layer = gzipSync(archive);
  const config = Buffer.from(
    JSON.stringify({
      architecture: process.arch === "arm64" ? "arm64" : "amd64",
      os: "linux",
      config: { Cmd: ["/nothing"] },
      rootfs: { type: "layers", diff_ids: [digest(archive)] },
    }),
  );
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MANIFEST,
      config: {
        mediaType: "application/vnd.docker.container.image.v1+json",
        size: config.length,
        digest: digest(config),
      },
      layers: [{ mediaType: LAYER, size: layer.length, digest: digest(layer) }],
    }),
  );
  const parts = new Map<string, Uint8Array<ArrayBuffer>>([
    [`/v2/demo/blobs/${digest(layer)}`, layer],
    [`/v2/demo/blobs/${digest(config)}`, config],
    ["/v2/demo/manifests/1", manifest],
    [`/v2/demo/manifests/${digest(manifest)}`, manifest],
  ]);
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: (request) => answer(new URL(request.url).pathname, parts),
  });
  return { image: `127.0.0.1:${server.port}/demo:1`, [Symbol.dispose]: () => void server.stop(true) };
}

const MANIFEST = "application/vnd.docker.distribution.manifest.v2+json";
const LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip";

function answer(path: string, parts: ReadonlyMap<string, Uint8Array<ArrayBuffer>>): Response {
  if (path === "/v2/")
    return new Response("{}", { headers: { "docker-distribution-api-version": "registry/2.0" } });
  const part = parts.get(path);
  if (part === undefined) {
    const code = path.includes("/manifests/") ? "MANIFEST_UNKNOWN" : "BLOB_UNKNOWN";
    return Response.json({ errors: [{ code, message: "manifest unknown" }] }, { status: 404 });
  }
  const type = path.includes("/manifests/") ? MANIFEST : "application/octet-stream";
  return new Response(part, { headers: { "content-type": type, "docker-content-digest": digest(part) } });
}

function digest(bytes: Uint8Array): string {
  return `sha256:${new Bun.CryptoHasher("sha256").update(bytes).digest("hex")}`;
}
