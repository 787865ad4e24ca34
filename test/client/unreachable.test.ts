import { expect, test } from "bun:test";
import { chmod, rename } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { connect } from "../../src/client/client.ts";
import { freshFolder, serveRaw } from "./grpc-server.ts";
import { thrown } from "./thrown.ts";

test("a call says that there is no socket", async () => {
  await using folder = await freshFolder();
  const failure = await refusal(`${folder.path}/none.sock`);
  expect(failure.kind).toBe("unavailable");
  expect(failure.message).toBe(
    `Cannot reach baaaht at unix://${folder.path}/none.sock: no such file (is \`baaaht serve\` running?)`,
  );
});

test("a call says that nobody listens on the socket any more", async () => {
  await using folder = await freshFolder();
  const path = `${folder.path}/stale.sock`;
  await using server = await listening(`${folder.path}/first.sock`);
  await rename(server.path, path);
  await server[Symbol.asyncDispose](); // which would remove the file if it still had its name
  const failure = await refusal(path);
  expect(failure.kind).toBe("unavailable");
  expect(failure.message).toEndWith(": the socket is there, but nobody listens (is `baaaht serve` running?)");
});

test("a call says that the file is no socket", async () => {
  await using folder = await freshFolder();
  await Bun.write(`${folder.path}/file`, "");
  const failure = await refusal(`${folder.path}/file`);
  expect(failure.message).toEndWith(": the file is there, but it is not a socket");
});

test("a call says that the socket is somebody else's, and does not wait for that to change", async () => {
  await using server = await serveRaw({});
  await chmod(server.path, 0);
  const child = Bun.spawn([process.execPath, `${import.meta.dir}/unprivileged-call.ts`, server.path], {
    stdout: "pipe",
    stderr: "inherit",
  });
  expect(JSON.parse(await child.stdout.text())).toEqual({
    kind: "permission_denied",
    reason: "UNREACHABLE",
    message: `Cannot reach baaaht at unix://${server.path}: permission denied (its socket is for the user who runs the server)`,
  });
});

test("a call says that a port refuses, and that a host is not there", async () => {
  await using server = await listening(undefined);
  const { port } = server;
  await server[Symbol.asyncDispose]();
  const failure = await refusal(`127.0.0.1:${port}`);
  expect(failure.kind).toBe("unavailable");
  expect(failure.message).toBe(
    `Cannot reach baaaht at 127.0.0.1:${port}: connection refused (is \`baaaht serve\` running?)`,
  );
  expect((await refusal("nowhere.invalid:1")).message).toBe(
    "Cannot reach baaaht at nowhere.invalid:1: no such host",
  );
});

test("a call says that whoever listens does not speak, after dialTimeoutMs", async () => {
  await using folder = await freshFolder();
  await using server = await listening(`${folder.path}/mute.sock`);
  await using client = connect({ address: server.path, dialTimeoutMs: 100 });
  const failure = await thrown(() => client.orchestrator.getSession({}));
  expect(failure.kind).toBe("unavailable");
  expect(failure.details.reason).toBe("UNREACHABLE");
  expect(failure.message).toMatch(/: it accepts connections but did not answer as gRPC within 0\.\d s$/);
});

test("a call whose own time is over before a connection is there ends with its deadline", async () => {
  await using folder = await freshFolder();
  await using server = await listening(`${folder.path}/mute.sock`);
  await using client = connect({ address: server.path });
  const failure = await thrown(() => client.orchestrator.getSession({}, { timeoutMs: 20 }));
  expect(failure.kind).toBe("deadline_exceeded");
  expect(failure.message).toMatch(/did not answer as gRPC within 0\.\d+ s, the call's own time$/);
});

test("ready() waits for a server that starts later", async () => {
  await using folder = await freshFolder();
  const path = `${folder.path}/late.sock`;
  await using client = connect({ address: path, reconnectIntervalMs: 10 });
  const ready = client.ready();
  await refusal(path);
  await using _ = await serveRaw({ getSession: (_call, answer) => answer(null, {}) }, { path });
  await ready;
  await client.orchestrator.getSession({});
});

test("ready() gives up after dialTimeoutMs, or with its signal", async () => {
  await using folder = await freshFolder();
  await using client = connect({ address: `${folder.path}/none.sock`, dialTimeoutMs: 50 });
  expect((await thrown(() => client.ready())).message).toContain("no such file");
  await using patient = connect({ address: `${folder.path}/none.sock` });
  const controller = new AbortController();
  const failure = thrown(() => patient.ready(controller.signal));
  await refusal(`${folder.path}/none.sock`);
  controller.abort();
  expect((await failure).kind).toBe("cancelled");
});

test("a client that was connected waits for its server to come back, also for what must not be sent twice", async () => {
  await using folder = await freshFolder();
  const path = `${folder.path}/s.sock`;
  const first = await serveRaw({}, { path });
  await using client = connect({ address: path, reconnectIntervalMs: 10 });
  await client.ready();
  await first[Symbol.asyncDispose]();
  const impatient = await thrown(() => client.orchestrator.getSession({}, { waitForReady: false }));
  expect(impatient.details.reason).toBe("UNREACHABLE");
  const created = client.orchestrator.createSession({});
  await refusal(path); // a client that was never connected does not wait
  await using _ = await serveRaw(
    { createSession: (_call, answer) => answer(null, { sessionId: "s1" }) },
    { path },
  );
  expect((await created).sessionId).toBe("s1");
});

test("a call with waitForReady false does not wait for a server that was there before", async () => {
  await using folder = await freshFolder();
  const server = await serveRaw(
    { getSession: (_, answer) => answer(null, {}) },
    { path: `${folder.path}/s.sock` },
  );
  await using client = connect({ address: server.path });
  await client.ready();
  await server[Symbol.asyncDispose]();
  const events = client.orchestrator.subscribeEvents({}, { waitForReady: false });
  expect((await thrown(() => events.started())).details.reason).toBe("UNREACHABLE");
});

/** What a call of a client that has never been connected throws. */
async function refusal(address: string) {
  await using client = connect({ address });
  return await thrown(() => client.orchestrator.getSession({}));
}

/** Something that listens on a socket, or on a free port, and never says a word. */
async function listening(path: string | undefined) {
  const accepted = new Set<Socket>();
  const server = createServer((socket) => accepted.add(socket));
  await new Promise<void>((resolve) =>
    path === undefined ? server.listen(0, "127.0.0.1", resolve) : server.listen(path, resolve),
  );
  const address = server.address();
  return {
    path: path ?? "",
    port: typeof address === "object" ? address?.port : undefined,
    [Symbol.asyncDispose]: async () => {
      for (const socket of accepted) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
