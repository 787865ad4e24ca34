import { create } from "@bufbuild/protobuf";
import { type PortBinding, PortBindingSchema } from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { type Flag, problem } from "./flag.ts";

/** Ports of the host that lead into a container. */
export const publishFlag: Flag<readonly PortBinding[]> = {
  about:
    "a port of the host that leads to one of the container, such as 8080:80, 80 (any free one) or 0.0.0.0:53:53/udp",
  short: "p",
  placeholder: "[[HOST_IP:][HOST_PORT]:]PORT[/PROTOCOL]",
  repeats: true,
  read: (given) => given.map(portOf),
};

function portOf(word: string): PortBinding {
  const match =
    /^(?:(?:(?<ip>\[[0-9a-fA-F:.]+\]|[0-9.]+):)?(?<host>\d*):)?(?<container>\d+)(?:\/(?<protocol>\w+))?$/.exec(
      word,
    );
  const groups = match?.groups;
  if (groups === undefined) throw problem(`has to be HOST_PORT:PORT, such as 8080:80, not "${word}"`);
  return create(PortBindingSchema, {
    hostIp: (groups.ip ?? "").replace(/^\[|\]$/g, ""),
    hostPort: portNumber(groups.host === undefined || groups.host === "" ? "0" : groups.host),
    containerPort: portNumber(groups.container ?? ""),
    protocol: groups.protocol ?? "",
  });
}

function portNumber(text: string): number {
  const port = Number(text);
  if (port > 65_535) throw problem(`has the port ${text}; at most 65535 are allowed`);
  return port;
}
