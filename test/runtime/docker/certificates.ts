import { join } from "node:path";
import { tempFolder } from "../../temp-folder.ts";

/** Disposing deletes their files. */
export interface Certificates extends AsyncDisposable {
  /** As DOCKER_CERT_PATH has it: ca.pem, and cert.pem and key.pem of a client. */
  readonly clientFolder: string;
  /** The same authority, with server.pem and server-key.pem for 127.0.0.1. */
  readonly server: { readonly cert: string; readonly key: string; readonly ca: string };
}

/** Makes an authority, a server and a client with the openssl command; valid for a day. */
export async function makeCertificates(): Promise<Certificates> {
  const files = await tempFolder();
  const folder = files.path;
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"];
  const signed = ["-CA", "ca.pem", "-CAkey", "ca-key.pem", "-addext", "basicConstraints=critical,CA:FALSE"];
  const openssl = async (name: string, file: string, args: readonly string[]): Promise<void> => {
    const out = [
      "-subj",
      `/CN=${name}`,
      "-keyout",
      `${file === "cert" ? "key" : `${file}-key`}.pem`,
      "-out",
      `${file}.pem`,
    ];
    const run = Bun.spawn(["openssl", "req", "-x509", ...key, ...out, ...args], {
      cwd: folder,
      stderr: "pipe",
    });
    if ((await run.exited) !== 0) throw new Error(`openssl failed: ${await new Response(run.stderr).text()}`);
  };
  await openssl("test authority", "ca", []);
  await openssl("test server", "server", [...signed, "-addext", "subjectAltName=IP:127.0.0.1"]);
  await openssl("test client", "cert", signed);
  const read = (file: string): Promise<string> => Bun.file(join(folder, file)).text();
  return {
    clientFolder: folder,
    server: { cert: await read("server.pem"), key: await read("server-key.pem"), ca: await read("ca.pem") },
    [Symbol.asyncDispose]: () => files[Symbol.asyncDispose](),
  };
}
