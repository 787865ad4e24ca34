import { expect, test } from "bun:test";
import { join } from "node:path";
import { loadConfig } from "../../src/daemon/config.ts";

const root = join(import.meta.dir, "../..");
const unit = await Bun.file(join(root, "examples/systemd/baaaht.service")).text();

test("docs/systemd.md shows the unit as it is", async () => {
  expect(await Bun.file(join(root, "docs/systemd.md")).text()).toContain(`\`\`\`ini\n${unit}\`\`\``);
});

test("baaaht.service sets an environment that leads the server to the folders that systemd makes", () => {
  const env = Object.fromEntries(
    [...unit.matchAll(/^Environment=(\w+)=(.*)$/gm)].map(([, name, value]) => [name, value]),
  );
  const asked: string[] = [];
  const readFile = (path: string): undefined => void asked.push(path);
  const { config } = loadConfig({ flags: {}, env, uid: 998, readFile });
  expect(config.dataDir).toBe("/var/lib/baaaht");
  expect(config.grpc.socketPath).toBe("/run/baaaht/grpc.sock");
  expect(asked).toEqual(["/etc/baaaht/config.toml"]);
});

test("baaaht.service gives the server more time to stop than it takes", () => {
  const seconds = Number(/^TimeoutStopSec=(\d+)$/m.exec(unit)?.[1]);
  const { config } = loadConfig({ flags: {}, env: { HOME: "/" }, readFile: () => undefined });
  expect(seconds * 1_000).toBeGreaterThan(config.shutdownTimeoutMs);
});
