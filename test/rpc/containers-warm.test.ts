import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { callEngine } from "../../scripts/engine-api.ts";
import type { Client } from "../../src/client/client.ts";
import { ContainerState, EventType } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { thrown } from "../client/thrown.ts";
import { engine } from "../engine.ts";
import { ensureInit } from "../init.ts";
import { startServer } from "../server.ts";
import { type ContainerServer, containerServer, eventOf, exec } from "./container-client.ts";

const SET_UP_MS = 600_000;
/** Several containers are made cold here, on a machine that may be busy. */
setDefaultTimeout(60_000);
const prepared = 2;
let warm: ContainerServer;
let cold: ContainerServer;

beforeAll(async () => {
  ensureInit();
  const { image } = await engine();
  warm = await containerServer({ env: pool({ images: image }) });
  cold = await containerServer({ flags: ["--no-warm"] });
}, SET_UP_MS);

afterAll(async () => {
  await warm[Symbol.asyncDispose]();
  await cold[Symbol.asyncDispose]();
}, SET_UP_MS);

describe("a container made out of a prepared one", () => {
  const looks: Readonly<Record<string, string>> = {
    environment: "env | grep -v '^HOSTNAME=' | sort",
    "place and user": "pwd; id; umask",
    "open files":
      "for fd in 0 1 2 3 4 5 6 7 8 9; do for is in p c S f d; do [ -$is /proc/$$/fd/$fd ] && echo $fd $is; done; done; true",
    "first process":
      "echo $$ $PPID; tr '\\0' ' ' < /proc/1/cmdline; grep -E '^(Sig[BICP]|Cap|NoNewPrivs|Seccomp|Groups)' /proc/1/status",
    limits:
      "ulimit -a; cat /proc/self/oom_score_adj; cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max",
  };

  const heading = (what: string) => `--- ${what} ---\n`;
  let ours: Ran;
  let plain: Ran;

  beforeAll(async () => {
    const script = Object.entries(looks).map(([what, look]) => `printf -- '${heading(what)}'; ${look}`);
    const config = {
      command: ["sh", "-c"],
      args: [`${script.join("\n")}; exit 7`],
      env: { OUTER: "x=y", PATH: "/bin:/usr/bin" },
      workingDir: "/made/for this",
    };
    await ready(warm.client);
    [ours, plain] = [await ran(warm, config), await ran(cold, config)];
  });

  test("ends as a cold one does", () => {
    expect(ours.labels["baaaht.prepared"]).toBe("yes");
    expect(plain.labels["baaaht.prepared"]).toBeUndefined();
    expect([ours.exitCode, plain.exitCode]).toEqual([7, 7]);
  });

  for (const what of Object.keys(looks)) {
    test(`is in its ${what} what a cold one is`, () => {
      const seen = ({ said }: Ran) => said.split(heading(what))[1]?.split("--- ")[0] ?? "";
      expect(seen(ours)).not.toBe("");
      expect(seen(ours)).toBe(seen(plain));
    });
  }

  test("runs what the image says when the request says nothing, and the request's arguments", async () => {
    await ready(warm.client);
    const quiet = await ran(warm, { command: [], args: [] });
    expect([quiet.labels["baaaht.prepared"], quiet.exitCode]).toEqual(["yes", 0]);
    await ready(warm.client);
    const told = await ran(warm, { command: [], args: ["echo", "told"] });
    expect([told.labels["baaaht.prepared"], told.said]).toEqual(["yes", "told\n"]);
  });

  test("has begun when its session asked for it, as its events say", async () => {
    await ready(warm.client);
    const containerId = await warm.create();
    const { container } = await warm.client.orchestrator.getContainer({ containerId });
    const created = container?.createdAt;
    const started = container?.startedAt;
    expect(Number(started?.seconds) * 1e9 + Number(started?.nanos)).toBeGreaterThanOrEqual(
      Number(created?.seconds) * 1e9 + Number(created?.nanos),
    );
    await eventOf(
      warm.client,
      EventType.CONTAINER_STARTED,
      (one) => one.metadata?.containerId === containerId,
    );
    await warm.client.orchestrator.removeContainer({ containerId, force: true });
  });

  test("gives its commands its own environment and folder, whoever runs them", async () => {
    await ready(warm.client);
    const containerId = await warm.create({ env: { OUTER: "outside", BOTH: "outside" }, workingDir: "/tmp" });
    const command = ["sh", "-c", "echo $OUTER $BOTH $(pwd) $(id -u)"];
    const start = { containerId, command, env: { BOTH: "inside" } };
    expect((await exec(warm.client, start)).stdout.toString()).toBe("outside inside /tmp 0\n");
    expect((await exec(warm.client, { ...start, user: "app" })).stdout.toString()).toBe(
      "outside inside /tmp 1000\n",
    );
    await warm.client.orchestrator.removeContainer({ containerId, force: true });
  });
});

test("a command that kills itself in a container made out of a prepared one has ended with 137", async () => {
  await ready(warm.client);
  const containerId = await warm.create();
  const { ends } = await exec(warm.client, { containerId, command: ["sh", "-c", "kill -9 $$"] });
  expect(ends).toMatchObject([{ how: { case: "exited", value: { code: 137 } } }]);
  await warm.client.orchestrator.removeContainer({ containerId, force: true });
});

test("a command that ends at once has run once, with its output and its exit code", async () => {
  for (let round = 0; round < 15; round++) {
    await ready(warm.client);
    const { said, exitCode, labels } = await ran(warm, { command: ["sh", "-c", "echo once; exit 3"] });
    expect([said, exitCode, labels["baaaht.prepared"]]).toEqual(["once\n", 3, "yes"]);
  }
});

test("commands that end at once, several at a time, have each its own output and exit code", async () => {
  for (let round = 0; round < 3; round++) {
    await ready(warm.client);
    const codes = Array.from({ length: prepared }, (_, at) => 10 + at);
    const all = await Promise.all(
      codes.map((code) => ran(warm, { command: ["sh", "-c", `echo ${code}; exit ${code}`] })),
    );
    expect(all.map(({ said, exitCode }) => [said, exitCode])).toEqual(
      codes.map((code) => [`${code}\n`, code]),
    );
    expect(all.every(({ labels }) => labels["baaaht.prepared"] === "yes")).toBe(true);
  }
});

describe("CreateContainer with prepared containers", () => {
  test("refuses a command that is not there as ever, and leaves nothing", async () => {
    await ready(warm.client);
    const words = [await refused(warm), await refused(cold)];
    expect(words[0]?.kind).toBe(words[1]?.kind);
    expect(words[0]?.message.replace(/"[0-9a-f-]{36}"/, "")).toBe(
      words[1]?.message.replace(/"[0-9a-f-]{36}"/, "") ?? "",
    );
    const { session } = await warm.client.orchestrator.getSession({ sessionId: warm.sessionId });
    expect(session?.containerIds).toEqual([]);
  });

  test("makes containers with labels, a name or a file system of their own in the engine's time", async () => {
    for (const config of [{ labels: { a: "b" } }, { name: "own" }, { readOnlyRootfs: true }]) {
      await ready(warm.client);
      const containerId = await warm.create(config);
      expect((await facts(warm, containerId)).labels["baaaht.prepared"]).toBeUndefined();
      await warm.client.orchestrator.removeContainer({ containerId, force: true });
    }
  });

  test("gives one other limits before its command begins", async () => {
    await ready(warm.client);
    const config = {
      command: ["sh", "-c", "cat /sys/fs/cgroup/pids/pids.max || cat /sys/fs/cgroup/pids.max"],
      resourceLimits: { memoryBytes: 64n << 20n, pidsLimit: 33n },
    };
    const { said, labels } = await ran(warm, config);
    expect([said, labels["baaaht.prepared"]]).toEqual(["33\n", "yes"]);
  });

  test("has containers of a session with a network reach each other by name, and no other session's", async () => {
    const { dockerHost, image } = await engine();
    await using other = await containerServer({ env: pool({ images: "" }) });
    const { orchestrator } = other.client;
    const open = { config: { policy: { allowNetwork: true } } };
    const [mine, theirs] = [await orchestrator.createSession(open), await orchestrator.createSession(open)];
    const listen = "while :; do echo heard | nc -l -p 8080; done";
    const create = async ({ sessionId }: { readonly sessionId: string }) => {
      const config = { image, command: ["sh", "-c", listen] };
      return (await orchestrator.createContainer({ sessionId, config })).containerId;
    };
    const call = async (containerId: string, command: string) =>
      (await exec(other.client, { containerId, command: ["sh", "-c", command] })).stdout.toString();
    const [cold] = [await create(mine), await create(theirs)];
    await ready(other.client);
    const [web, stranger] = [await create(mine), await create(theirs)];
    const made = await Promise.all([cold, web, stranger].map((id) => facts(other, id)));
    expect(made.map(({ labels }) => labels["baaaht.prepared"])).toEqual([undefined, "yes", "yes"]);
    const reach = (id: string) =>
      `for i in 1 2 3 4 5; do nc baaaht-${id} 8080 </dev/null && break; sleep 0.2; done`;
    expect([await call(cold, reach(web)), await call(web, reach(cold))]).toEqual(["heard\n", "heard\n"]);
    expect(await call(stranger, `nslookup baaaht-${web} >/dev/null 2>&1 || echo nobody`)).toBe("nobody\n");
    const address = (await call(web, "hostname -i")).trim();
    const away = `timeout 3 nc -w 2 ${address} 8080 </dev/null || echo unreachable`;
    expect(await call(stranger, away)).toBe("unreachable\n");
    for (const { sessionId } of [mine, theirs]) {
      await orchestrator.closeSession({ sessionId }, { timeoutMs: 30_000 });
      const gone = await callEngine(dockerHost, `/networks/baaaht-${sessionId}`);
      expect(gone.status).toBe(404);
    }
  }, 120_000);

  test("gives each of many at once a container of its own", async () => {
    await ready(warm.client);
    const ids = await Promise.all(Array.from({ length: 6 }, () => warm.create()));
    const made = await Promise.all(ids.map((id) => facts(warm, id)));
    expect(new Set(made.map(({ runtimeId }) => runtimeId)).size).toBe(6);
    expect(made.filter(({ labels }) => labels["baaaht.prepared"] === "yes").length).toBeGreaterThanOrEqual(
      prepared,
    );
    await Promise.all(
      ids.map((containerId) => warm.client.orchestrator.removeContainer({ containerId, force: true })),
    );
  });

  test("does not use one of an image that has changed since", async () => {
    const name = `baaaht-test-${crypto.randomUUID()}`;
    const { dockerHost, image, imageOf } = await engine();
    const python = await imageOf("python");
    const tag = (of: string) =>
      callEngine(dockerHost, `/images/${of}/tag?repo=${name}&tag=1`, { method: "POST" });
    await tag(image);
    await using other = await containerServer({ env: pool({ images: `${name}:1` }) });
    await ready(other.client);
    await tag(python);
    const { said } = await ran(other, { image: `${name}:1`, command: ["python3", "-c", "print('new')"] });
    expect(said).toBe("new\n");
    await callEngine(dockerHost, `/images/${name}:1`, { method: "DELETE" });
  }, 60_000);

  test("goes on when those that wait were removed by hand, and replaces them", async () => {
    await ready(warm.client);
    for (const id of await waitingIn(warm)) {
      await callEngine(warm.dockerHost, `/containers/${id}?force=1`, { method: "DELETE" });
    }
    expect((await ran(warm, { command: ["echo", "on"] })).said).toBe("on\n");
    await ready(warm.client);
  });

  test("learns what is asked for again and again", async () => {
    await using other = await containerServer({ env: pool({ images: "" }) });
    const config = { resourceLimits: { memoryBytes: 96n << 20n }, command: ["true"] };
    await ran(other, config);
    expect((await other.client.orchestrator.getStatus({})).preparedContainers).toBe(0);
    await ran(other, config);
    await ready(other.client, 1);
    expect((await ran(other, config)).labels["baaaht.prepared"]).toBe("yes");
  }, 60_000);
});

describe("a server that ends", () => {
  test("removes what waits, and the next one takes up what was made of it", async () => {
    const { dockerHost, image } = await engine();
    await using first = await containerServer({ env: pool({ images: image }) });
    await ready(first.client);
    const containerId = await first.create();
    const before = await facts(first, containerId);
    await ready(first.client);
    const { dataDir, socketPath } = first.server;
    await first.server.stop();
    expect(await waitingIn(first)).toEqual([before.runtimeId]);
    await using next = await startServer({ dockerHost, dataDir, socketPath });
    await next.logged("the container engine answers");
    const { container } = await next.client.orchestrator.getContainer({ containerId });
    expect(container).toMatchObject({ state: ContainerState.RUNNING, runtimeId: before.runtimeId });
    const { events } = await logOf(next.client, containerId);
    expect(events.filter((type) => type === EventType.CONTAINER_STARTED).length).toBe(1);
  }, 60_000);

  test("by SIGKILL leaves nothing that waits behind for long", async () => {
    const { dockerHost, image } = await engine();
    await using first = await containerServer({ env: pool({ images: image }) });
    await ready(first.client);
    const { dataDir, socketPath } = first.server;
    await first.server.kill();
    expect((await waitingIn(first)).length).toBe(prepared);
    await using next = await startServer({ dockerHost, dataDir, socketPath });
    await next.logged("the container engine answers");
    expect(await waitingIn(first)).toEqual([]);
  }, 60_000);
});

function pool({ images }: { readonly images: string }): Record<string, string> {
  return {
    BAAAHT_WARM_IMAGES: images,
    BAAAHT_WARM_MAX_CONTAINERS: String(prepared),
    BAAAHT_WARM_PER_SHAPE: String(prepared),
  };
}

/** Waits until containers wait; nothing tells of it, so it is asked. */
async function ready(client: Client, count = prepared): Promise<void> {
  for (;;) {
    const status = await client.orchestrator.getStatus({});
    if (status.preparedContainers >= count) return;
    await Bun.sleep(50); // the server tells nobody, and is not to be asked all the time
  }
}

type Ran = Awaited<ReturnType<typeof ran>>;

async function ran({ client, create }: ContainerServer, config: Parameters<ContainerServer["create"]>[0]) {
  const containerId = await create(config);
  let said = "";
  for await (const { data } of client.orchestrator.streamContainerLogs({ containerId, follow: true })) {
    said += Buffer.from(data).toString();
  }
  const { exitCode } = await client.orchestrator.waitContainer({ containerId });
  const { labels } = await facts({ client }, containerId);
  await client.orchestrator.removeContainer({ containerId });
  return { said, exitCode, labels };
}

/** What the engine has of a container. */
async function facts({ client }: Pick<ContainerServer, "client">, containerId: string) {
  const { dockerHost } = await engine();
  const { container } = await client.orchestrator.getContainer({ containerId });
  const runtimeId = container?.runtimeId ?? "";
  // as: the engine's own description of a container
  const found = (await (await callEngine(dockerHost, `/containers/${runtimeId}/json`)).json()) as {
    readonly Config: { readonly Labels: Readonly<Record<string, string>> };
  };
  return { runtimeId, labels: found.Config.Labels };
}

/** The engine's ids of what was prepared by this server, taken or not. */
async function waitingIn({ dockerHost, server }: ContainerServer): Promise<readonly string[]> {
  const filters = encodeURIComponent(JSON.stringify({ label: ["baaaht.prepared=yes"] }));
  // as: the engine's own listing
  const all = (await (
    await callEngine(dockerHost, `/containers/json?all=1&filters=${filters}`)
  ).json()) as readonly {
    readonly Id: string;
    readonly Mounts: readonly { readonly Source: string }[];
  }[];
  return all
    .filter(({ Mounts }) => Mounts.some(({ Source }) => Source.startsWith(server.dataDir)))
    .map(({ Id }) => Id);
}

async function refused({ create }: ContainerServer) {
  return await thrown(() => create({ command: ["no-such-command"] }));
}

async function logOf(client: Client, containerId: string) {
  const request = {
    fromStart: true,
    filter: { containerId, endTime: { seconds: BigInt(Math.floor(Date.now() / 1000)), nanos: 0 } },
  };
  const events: EventType[] = [];
  for await (const event of client.orchestrator.subscribeEvents(request)) events.push(event.type);
  return { events };
}
