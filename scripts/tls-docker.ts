import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { addBridge, daemonConfig } from "./dockerd.ts";
import type { EngineRecipe } from "./own-engine.ts";

/** What a server proves itself with, in PEM, and the authority that its clients have to be of. */
export interface ServerCertificates {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

/**
 * A Docker engine that also listens on a port of 127.0.0.1 and takes there only who has a certificate of its authority.
 * It leaves firewall and default network to the engine that the machine may have: the ports that it publishes are
 * bound, and nothing gets through to them.
 */
export function tlsDocker(port: number, { cert, key, ca }: ServerCertificates): EngineRecipe {
  return {
    name: "Docker with TLS",
    needs: { dockerd: "docker.io", ip: "iproute2" },
    prepare: async ({ run, data, bridge }) => {
      const file = (name: string, content: string): string => {
        writeFileSync(join(run, name), content, { mode: 0o600 });
        return join(run, name);
      };
      const socket = join(run, "engine.sock");
      // Its own, in a network for each port, out of a range that hosts seldom use.
      await addBridge({ name: bridge, address: `10.214.${port % 256}.1/24` });
      const tls = {
        tlsverify: true,
        tlscacert: file("ca.pem", ca),
        tlscert: file("cert.pem", cert),
        tlskey: file("key.pem", key),
      };
      const settings = daemonConfig({
        socket,
        pidFile: join(run, "dockerd.pid"),
        dataRoot: join(data, "data"),
        execRoot: join(run, "exec"),
        namespace: bridge,
        config: {
          ...{ hosts: [`unix://${socket}`, `tcp://127.0.0.1:${port}`], ...tls },
          ...{ bridge, iptables: false, ip6tables: false },
        },
      });
      return { command: ["dockerd", "--config-file", file("daemon.json", JSON.stringify(settings))] };
    },
  };
}
