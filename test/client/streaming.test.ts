import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { connect } from "../../src/client/client.ts";
import { serveRaw } from "./grpc-server.ts";
import { connectionOf, delivered } from "./http2-session.ts";
import { thrown } from "./thrown.ts";

test("a server stream gives every answer in order, then ends", async () => {
  await using server = await serveRaw({
    subscribeEvents: (call) => {
      for (let n = 0; n < 1000; n += 1) call.write({ id: `e${n}` });
      call.end();
    },
  });
  await using client = connect({ address: server.path });
  const ids = [];
  for await (const event of client.orchestrator.subscribeEvents({})) ids.push(event.id);
  expect(ids).toEqual(Array.from({ length: 1000 }, (_, n) => `e${n}`));
});

test("streams one after the other use one connection, streams at once each their own", async () => {
  const connections = new Set<unknown>();
  const ends: (() => void)[] = [];
  await using server = await serveRaw({
    subscribeEvents: (call) => {
      connections.add(connectionOf(call));
      call.sendMetadata(call.metadata);
      ends.push(() => call.end());
    },
  });
  await using client = connect({ address: server.path });
  for (let n = 0; n < 5; n += 1) {
    const events = client.orchestrator.subscribeEvents({});
    await events.started();
    ends.pop()?.();
    for await (const _ of events);
  }
  expect(connections.size).toBe(1);
  const both = [client.orchestrator.subscribeEvents({}), client.orchestrator.subscribeEvents({})];
  await Promise.all(both.map((events) => events.started()));
  expect(connections.size).toBe(2);
});

test("a stream begins with started() or iteration, and not before", async () => {
  let calls = 0;
  await using server = await serveRaw({
    subscribeEvents: (call) => {
      calls += 1;
      call.end();
    },
  });
  await using client = connect({ address: server.path });
  client.orchestrator.subscribeEvents({}); // never iterated
  const one = client.orchestrator.subscribeEvents({});
  await one.started();
  for await (const _ of one);
  expect(calls).toBe(1);
});

test("started() waits for the response headers", async () => {
  const called = Promise.withResolvers<() => void>();
  await using server = await serveRaw({
    subscribeEvents: (call) => called.resolve(() => call.sendMetadata(call.metadata)),
  });
  await using client = connect({ address: server.path });
  const events = client.orchestrator.subscribeEvents({}, { metadata: { mark: "m" } });
  let isStarted = false;
  const started = events.started().then((headers) => {
    isStarted = true;
    return headers;
  });
  const open = await called.promise;
  expect(isStarted).toBe(false);
  open();
  expect((await started).get("mark")).toBe("m");
});

test("started() throws what ends the call before it is in force, and so does reading", async () => {
  await using server = await serveRaw({
    subscribeEvents: (call) => call.emit("error", { code: 11, details: "too old" }),
  });
  await using client = connect({ address: server.path });
  const events = client.orchestrator.subscribeEvents({});
  expect((await thrown(() => events.started())).kind).toBe("out_of_range");
  expect((await thrown(() => Array.fromAsync(events))).message).toBe("too old");
});

test("answers that came before the error are read before it is thrown", async () => {
  await using server = await serveRaw({
    subscribeEvents: (call) => {
      call.write({ id: "e1" });
      delivered(call).then(() => call.emit("error", { code: 8, details: "you do not read" }));
    },
  });
  await using client = connect({ address: server.path });
  const ids: string[] = [];
  const failure = await thrown(async () => {
    for await (const event of client.orchestrator.subscribeEvents({})) ids.push(event.id);
  });
  expect(ids).toEqual(["e1"]);
  expect(failure.kind).toBe("resource_exhausted");
});

test("leaving the iteration cancels the call at the server", async () => {
  const server = await endless();
  await using _ = server;
  await using client = connect({ address: server.path });
  for await (const event of client.orchestrator.subscribeEvents({})) {
    expect(event.id).toBe("e0");
    break;
  }
  await server.cancelled;
});

test("the end of an `await using` cancels the call at the server", async () => {
  const server = await endless();
  await using _ = server;
  await using client = connect({ address: server.path });
  {
    await using events = client.orchestrator.subscribeEvents({});
    await events.started();
  }
  await server.cancelled;
});

test("a stream's signal cancels it at the server and wakes its reader", async () => {
  const cancelled = Promise.withResolvers<void>();
  await using server = await serveRaw({
    subscribeEvents: (call) => {
      call.sendMetadata(call.metadata);
      call.on("cancelled", () => cancelled.resolve());
    },
  });
  await using client = connect({ address: server.path });
  const controller = new AbortController();
  const events = client.orchestrator.subscribeEvents({}, { signal: controller.signal });
  await events.started();
  const failure = thrown(() => Array.fromAsync(events));
  controller.abort();
  expect((await failure).kind).toBe("cancelled");
  await cancelled.promise;
});

test("closing the client cancels its streams", async () => {
  const server = await endless();
  await using _ = server;
  const client = connect({ address: server.path });
  const failure = thrown(async () => {
    for await (const __ of client.orchestrator.subscribeEvents({})) await client[Symbol.asyncDispose]();
  });
  expect((await failure).details.reason).toBe("CLIENT_CLOSED");
  await server.cancelled;
});

test("a stream has no deadline by itself, and keeps the one that it is given", async () => {
  const deadlines: unknown[] = [];
  await using server = await serveRaw({
    subscribeEvents: (call) => {
      deadlines.push(call.getDeadline());
      call.sendMetadata(call.metadata);
    },
  });
  await using client = connect({ address: server.path, callTimeoutMs: 1 });
  await using events = client.orchestrator.subscribeEvents({});
  await events.started();
  const failure = await thrown(() =>
    Array.fromAsync(client.orchestrator.subscribeEvents({}, { timeoutMs: 30 })),
  );
  expect(deadlines[0]).toBe(Number.POSITIVE_INFINITY);
  expect(failure.kind).toBe("deadline_exceeded");
});

test("a stream that is not read holds its server up and nobody else, and gives all of it when it is read", async () => {
  let sent = 0;
  await using server = await serveRaw({
    subscribeEvents: (call) => {
      if (call.request.fromStart) {
        let ticks = 0;
        const timer = setInterval(() => {
          call.write({ id: "free" });
          ticks += 1;
          if (ticks < 50) return;
          clearInterval(timer);
          call.end();
        }, 1);
        return;
      }
      const fill = () => {
        for (let more = true; sent < 1000 && more; sent += 1) more = call.write({ id: "x".repeat(65_536) });
        if (sent === 1000) call.end();
      };
      call.on("drain", fill);
      fill();
    },
    getSession: (_, answer) => answer(null, {}),
  });
  await using client = connect({ address: server.path });
  await using stuck = client.orchestrator.subscribeEvents({});
  await stuck.started();
  await settled(() => sent);
  expect(sent).toBeLessThan(100);
  await client.orchestrator.getSession({});
  const free = client.orchestrator.subscribeEvents({ fromStart: true });
  expect(await Array.fromAsync(free)).toHaveLength(50);
  expect(await Array.fromAsync(stuck)).toHaveLength(1000);
});

test("a bidirectional stream sends what its requests give, half-closes at their end, and gives the answers", async () => {
  await using server = await serveRaw({
    execContainer: (call) => {
      call.on("data", ({ payload }) => call.write({ payload: { case: "stdout", value: payload.value } }));
      call.on("end", () => call.end());
    },
  });
  await using client = connect({ address: server.path });
  async function* requests() {
    for (let n = 0; n < 50; n += 1) yield { payload: { case: "stdin" as const, value: new Uint8Array([n]) } };
  }
  const answers = await Array.fromAsync(client.orchestrator.execContainer(requests()));
  expect(answers.map(({ payload }) => (payload.case === "stdout" ? payload.value[0] : undefined))).toEqual(
    Array.from({ length: 50 }, (_, n) => n),
  );
});

test("requests are asked for as fast as the server takes them", async () => {
  const release = Promise.withResolvers<void>();
  await using server = await serveRaw({
    copyToContainer: (call, answer) => {
      call.pause();
      release.promise.then(() => call.resume());
      call.on("end", () => answer(null, { bytesWritten: 7n }));
    },
  });
  await using client = connect({ address: server.path });
  let given = 0;
  async function* requests() {
    for (; given < 20_000; given += 1)
      yield { payload: { case: "data" as const, value: new Uint8Array(100) } };
  }
  const answer = client.orchestrator.copyToContainer(requests());
  await settled(() => given);
  expect(given).toBeLessThan(5000);
  release.resolve();
  expect((await answer).bytesWritten).toBe(7n);
  expect(given).toBe(20_000);
});

test("an error of the requests cancels the call and is what the reader gets", async () => {
  const cancelled = Promise.withResolvers<void>();
  await using server = await serveRaw({
    execContainer: (call) => call.on("cancelled", () => cancelled.resolve()).resume(),
  });
  await using client = connect({ address: server.path });
  async function* requests() {
    yield {};
    throw new Error("the file is gone");
  }
  await expect(Array.fromAsync(client.orchestrator.execContainer(requests()))).rejects.toThrow(
    "the file is gone",
  );
  await cancelled.promise;
});

test("requests are told when the call ends before they do", async () => {
  await using server = await serveRaw({
    copyToContainer: (call, answer) => call.once("data", () => answer(null, { bytesWritten: 1n })),
  });
  await using client = connect({ address: server.path });
  const told = Promise.withResolvers<void>();
  async function* requests() {
    try {
      for (;;) yield { payload: { case: "data" as const, value: new Uint8Array(1) } };
    } finally {
      told.resolve();
    }
  }
  expect((await client.orchestrator.copyToContainer(requests())).bytesWritten).toBe(1n);
  await told.promise;
});

test("a call ends although its requests wait for ever", async () => {
  await using server = await serveRaw({
    execContainer: (call) => {
      call.resume();
      call.end();
    },
  });
  await using client = connect({ address: server.path });
  async function* requests() {
    yield {};
    await new Promise(() => {});
  }
  expect(await Array.fromAsync(client.orchestrator.execContainer(requests()))).toEqual([]);
});

test("200 streams, read or left or cut, leave no file descriptor open", async () => {
  const server = await endless();
  await using _ = server;
  await using client = connect({ address: server.path });
  const run = async (n: number) => {
    if (n % 2 === 0) {
      await using events = client.orchestrator.subscribeEvents({});
      await events.started();
      return;
    }
    for await (const __ of client.orchestrator.subscribeEvents({})) break;
  };
  await run(0);
  await run(1);
  await settled(descriptors);
  const before = descriptors();
  for (let n = 0; n < 200; n += 20) await Promise.all(Array.from({ length: 20 }, (__, i) => run(n + i)));
  await settled(descriptors);
  expect(descriptors()).toBeLessThanOrEqual(before);
});

/** A server whose event stream never ends, and that tells when one is cancelled. */
async function endless() {
  const cancelled = Promise.withResolvers<void>();
  const server = await serveRaw({
    subscribeEvents: (call) => {
      call.on("cancelled", () => cancelled.resolve());
      for (let n = 0; n < 20; n += 1) call.write({ id: `e${n}` });
    },
  });
  return { ...server, cancelled: cancelled.promise };
}

/** Waits until what `measure` gives has not changed for 20 turns of the event loop and of the disk's queue. */
async function settled(measure: () => number): Promise<void> {
  let last = measure();
  for (let same = 0; same < 20; same += 1) {
    await Bun.file("/dev/null").exists();
    await new Promise((resolve) => setTimeout(resolve, 1)); // what is measured gives no word
    const now = measure();
    if (now !== last) same = 0;
    last = now;
  }
}

function descriptors(): number {
  return readdirSync("/proc/self/fd").length;
}
