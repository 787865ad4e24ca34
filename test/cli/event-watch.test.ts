import { expect, test } from "bun:test";
import { PROGRAM } from "../program.ts";
import { startServer } from "../server.ts";

test("event watch says in one line that the server is gone, and in one that it is back", async () => {
  await using server = await startServer();
  const { dataDir, socketPath } = server;
  const env = {
    PATH: process.env.PATH,
    HOME: process.env.HOME,
    GRPC_SOCKET_PATH: socketPath,
    BAAAHT_CLIENT_RECONNECT_INTERVAL: "1ms", // many attempts before the server is there again
  };
  const args = ["event", "watch", "--from-start", "--type", "session-created", "--count", "2", "-q"];
  const child = Bun.spawn([...PROGRAM, ...args], { env, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  await server.client.orchestrator.createSession({});
  const output = child.stdout.getReader();
  await output.read();
  await server.kill();
  await using again = await startServer({ dataDir, socketPath });
  await again.client.orchestrator.createSession({});
  await output.read();
  expect(await child.exited).toBe(0);
  const lines = (await new Response(child.stderr).text()).trimEnd().split("\n");
  expect(lines).toEqual([
    expect.stringMatching(/; trying again until it is back$/),
    "The watch goes on where it was interrupted",
  ]);
}, 30_000);
