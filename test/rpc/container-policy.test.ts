import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { callEngine } from "../../scripts/engine-api.ts";
import type { Failure } from "../../src/failure.ts";
import {
  type ContainerConfigSchema,
  type Event,
  EventType,
  MountType,
  type SessionConfigSchema,
} from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { thrown } from "../client/thrown.ts";
import { engineContainers } from "../daemon/engine-containers.ts";
import { type ContainerServer, containerServer, exec } from "./container-client.ts";

type Config = MessageInitShape<typeof ContainerConfigSchema>;

const SET_UP_MS = 600_000;
const TEST_MS = 120_000;
const FOREVER = ["sh", "-c", "trap 'exit 0' TERM; sleep 100000 & wait"];
/** Says hello to whoever comes. */
const SAY = ["sh", "-c", "trap 'exit 0' TERM; while :; do echo hello | nc -l -p 8080 & wait; done"];
const mb = 1024n * 1024n;

let subject: ContainerServer;
let folder: string;
const sessions: string[] = [];

beforeAll(async () => {
  subject = await containerServer();
  folder = realpathSync(mkdtempSync(join(tmpdir(), "baaaht-host-")));
  mkdirSync(join(folder, "in/deep"), { recursive: true });
  mkdirSync(join(folder, "out"));
  writeFileSync(join(folder, "in/words"), "inside\n");
  writeFileSync(join(folder, "out/words"), "outside\n");
  symlinkSync(join(folder, "out"), join(folder, "in/link"));
}, SET_UP_MS);

afterAll(async () => {
  for (const sessionId of sessions) await close(sessionId);
  await subject?.[Symbol.asyncDispose]();
  if (folder) rmSync(folder, { recursive: true });
}, SET_UP_MS);

describe("a bind mount", () => {
  test(
    "of a path that is allowed is what the container has, read-only where it is asked for",
    async () => {
      const sessionId = await session(hostPaths(join(folder, "in")));
      const id = await create(sessionId, {
        mounts: [
          bind(join(folder, "in/deep/.."), "/rw"),
          { ...bind(join(folder, "in"), "/ro"), readOnly: true },
        ],
      });
      const script = "cat /rw/words; echo new > /rw/new; echo x > /ro/x || echo refused";
      expect(await output(id, script)).toContain("inside\nrefused\n");
      expect(await Bun.file(join(folder, "in/new")).text()).toBe("new\n");
      const { container } = await subject.client.orchestrator.getContainer({ containerId: id });
      expect(container?.config?.mounts[0]?.source).toBe(join(folder, "in"));
    },
    TEST_MS,
  );

  test(
    "of what is not allowed is PERMISSION_DENIED with its field, and in the log, and makes nothing",
    async () => {
      const sessionId = await session(
        hostPaths(join(folder, "in"), dirname(subject.server.socketPath), "/run", "/proc"),
      );
      const outside = [
        join(folder, "out"),
        join(folder, "in/../out"),
        join(folder, "in/link"),
        `${folder}/in2`,
        "/",
      ];
      const guarded = [
        subject.server.socketPath,
        dirname(subject.server.socketPath),
        subject.server.dataDir,
        subject.dockerHost.replace("unix://", ""),
        "/run",
        "/proc/self",
      ];
      for (const sources of [outside, guarded]) {
        const mounts = sources.map((source, index) => bind(source, `/m${index}`));
        const failure = await refused(sessionId, { mounts });
        expect(failure).toMatchObject({ kind: "permission_denied", details: { reason: "POLICY_VIOLATION" } });
        expect(failure.details.violations?.map(({ field }) => field)).toEqual([...fieldsOf(sources)]);
      }
      const events = await violations(sessionId, outside.length + guarded.length);
      expect(events.map(({ data }) => data.field)).toEqual([...fieldsOf(outside), ...fieldsOf(guarded)]);
      for (const { data } of events) expect(data.reason).toStartWith('is "/');
      expect(await engineContainers(subject.dockerHost, sessionId)).toEqual([]);
      const missing = await refused(sessionId, { mounts: [bind(join(folder, "in/nothing"), "/m")] });
      expect(missing).toMatchObject({ kind: "invalid_argument" });
    },
    TEST_MS,
  );

  test(
    "without allow_volume_mount is PERMISSION_DENIED, and memory is not",
    async () => {
      const sessionId = await session({});
      const failure = await refused(sessionId, { mounts: [bind(folder, "/m")] });
      expect(failure.kind).toBe("permission_denied");
      const id = await create(sessionId, {
        mounts: [{ type: MountType.TMPFS, target: "/scratch" }],
        readOnlyRootfs: true,
      });
      expect(await output(id, "echo x > /x || echo refused; echo x > /scratch/x && echo written")).toContain(
        "refused\nwritten\n",
      );
    },
    TEST_MS,
  );
});

describe("volumes", () => {
  test(
    "with a name are the session's until it closes, without one the container's",
    async () => {
      const policy = { policy: { allowVolumeMount: true } };
      const [mine, other] = [await session(policy), await session(policy)];
      const mounts = [volume("cache", "/cache"), volume("", "/own")];
      const first = await create(mine, { mounts });
      await output(first, "echo kept > /cache/x; echo x > /own/x");
      expect(await volumesOf(mine)).toEqual([`baaaht-${mine}-cache`]);
      await subject.client.orchestrator.removeContainer({ containerId: first, force: true });
      const second = await create(mine, { mounts });
      expect(await output(second, "cat /cache/x; ls /own")).toBe("kept\n");
      const elsewhere = await create(other, { mounts });
      expect(await output(elsewhere, "ls /cache")).toBe("");
      await close(mine);
      expect(await volumesOf(mine)).toEqual([]);
      expect(await volumesOf(other)).toEqual([`baaaht-${other}-cache`]);
    },
    TEST_MS,
  );
});

describe("a network", () => {
  test(
    "is one of each session's own: its containers find each other by name, and nobody else's",
    async () => {
      const policy = { policy: { allowNetwork: true } };
      const [mine, other] = [await session(policy), await session(policy)];
      const [web] = await Promise.all([
        create(mine, { name: "web", command: SAY }),
        create(mine, { name: "db" }),
        create(other, { name: "stranger", command: SAY }),
      ]);
      const { container } = await subject.client.orchestrator.getContainer({ containerId: web });
      expect(container?.config).toMatchObject({ name: "web", networkMode: "bridge" });
      expect(await output(web, "hostname")).toBe("web\n");
      const db = await create(mine, {});
      expect(await output(db, "for i in 1 2 3; do nc web 8080 </dev/null && break; sleep 0.2; done")).toBe(
        "hello\n",
      );
      expect(await output(db, "nslookup stranger >/dev/null 2>&1 || echo nobody")).toBe("nobody\n");
      const address = (await output(web, "hostname -i")).trim();
      const away = await create(other, {});
      const reach = `timeout 3 nc -w 2 ${address} 8080 </dev/null || echo unreachable`;
      expect(await output(away, reach)).toBe("unreachable\n");
      const taken = await refused(mine, { name: "web" });
      expect(taken).toMatchObject({
        kind: "already_exists",
        details: { reason: "CONTAINER_NAME_TAKEN", metadata: { container_id: web } },
      });
      expect(await networksOf(mine)).toEqual([`baaaht-${mine}`]);
      await close(mine);
      expect(await networksOf(mine)).toEqual([]);
      expect(await networksOf(other)).toEqual([`baaaht-${other}`]);
    },
    TEST_MS,
  );

  test(
    "is not there by default, nor where a container wants none, nor is another's to be had",
    async () => {
      const closed = await session({});
      const open = await session({ policy: { allowNetwork: true } });
      for (const id of [await create(closed, {}), await create(open, { networkMode: "none" })]) {
        expect(await output(id, "tail -n +3 /proc/net/dev | cut -d: -f1 | grep -c eth || true")).toBe("0\n");
      }
      expect(await networksOf(open)).toEqual([]);
      for (const networkMode of ["host", `container:${crypto.randomUUID()}`]) {
        expect((await refused(open, { networkMode })).kind).toBe("permission_denied");
      }
      expect((await refused(closed, { networkMode: "bridge" })).kind).toBe("permission_denied");
      expect((await refused(open, { networkMode: "other" })).kind).toBe("invalid_argument");
    },
    TEST_MS,
  );

  test(
    "of the engine is joined where the session names it",
    async () => {
      const name = `shared-${crypto.randomUUID()}`;
      const body = { Name: name, CheckDuplicate: true };
      await callEngine(subject.dockerHost, "/networks/create", { method: "POST", body });
      try {
        const policy = { policy: { allowNetwork: true, allowedNetworks: [name, "no-such-network"] } };
        const [one, two] = [await session(policy), await session(policy)];
        await create(one, { name: "one", networks: [name] });
        const id = await create(two, { name: "two", networks: [name] });
        expect(await output(id, "nslookup one >/dev/null 2>&1 && echo found")).toBe("found\n");
        expect((await refused(one, { networks: ["unnamed"] })).kind).toBe("permission_denied");
        expect((await refused(one, { networks: ["no-such-network"] })).kind).toBe("invalid_argument");
        await close(one);
        await close(two);
      } finally {
        await callEngine(subject.dockerHost, `/networks/${name}`, { method: "DELETE" });
      }
    },
    TEST_MS,
  );
});

describe("ports", () => {
  test(
    "lead into the container; the engine's choice is told, and one that is taken names who has it",
    async () => {
      const sessionId = await session({ policy: { allowNetwork: true } });
      const id = await create(sessionId, { command: SAY, ports: [{ containerPort: 8080 }] });
      const { container } = await subject.client.orchestrator.getContainer({ containerId: id });
      const port = container?.config?.ports[0];
      const hostPort = port?.hostPort ?? 0;
      expect(port).toMatchObject({ containerPort: 8080, protocol: "tcp", hostIp: "127.0.0.1" });
      expect(hostPort).toBeGreaterThan(0);
      expect(await said("127.0.0.1", hostPort)).toBe("hello\n");
      const taken = await refused(sessionId, {
        ports: [{ containerPort: 80 }, { containerPort: 81, hostPort }],
      });
      expect(taken).toMatchObject({
        kind: "failed_precondition",
        details: { reason: "PORT_IN_USE", metadata: { port: String(hostPort), holder: id } },
      });
      expect(taken.message).toContain(`config.ports[1].host_port is ${hostPort}`);
      expect(taken.message).toContain(id);
      await using listener = listening();
      const foreign = await refused(sessionId, { ports: [{ containerPort: 80, hostPort: listener.port }] });
      expect(foreign).toMatchObject({
        details: { reason: "PORT_IN_USE", metadata: { port: String(listener.port) } },
      });
      expect(await engineContainers(subject.dockerHost, sessionId)).toHaveLength(1);
      const without = await refused(await session({}), { ports: [{ containerPort: 80 }] });
      expect(without.kind).toBe("permission_denied");
    },
    TEST_MS,
  );
});

describe("the limits of a session", () => {
  test(
    "hold for all of its containers together, also when they are made at once",
    async () => {
      const sessionId = await session({ maxContainers: 100, resourceLimits: { memoryBytes: 64n * mb } });
      const limits = { resourceLimits: { memoryBytes: 16n * mb } };
      const outcomes = await Promise.allSettled(Array.from({ length: 10 }, () => create(sessionId, limits)));
      const made = outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
      expect(made).toHaveLength(4);
      for (const outcome of outcomes) {
        if (outcome.status === "fulfilled") continue;
        expect(outcome.reason).toMatchObject({
          kind: "resource_exhausted",
          details: { reason: "SESSION_LIMIT_REACHED" },
        });
        expect(String(outcome.reason)).toContain(
          "config.resource_limits.memory_bytes is 16777216; 0 is left of the session's 67108864",
        );
      }
      expect(await engineContainers(subject.dockerHost, sessionId)).toHaveLength(4);
      await subject.client.orchestrator.removeContainer({ containerId: made[0] ?? "", force: true });
      const small = await create(sessionId, {});
      const { container } = await subject.client.orchestrator.getContainer({ containerId: small });
      expect(container?.config?.resourceLimits).toMatchObject({
        memoryBytes: 16n * mb,
        memorySwap: 16n * mb,
      });
      expect((await refused(sessionId, {})).kind).toBe("resource_exhausted");
    },
    TEST_MS,
  );
});

describe("what a container is made with", () => {
  test(
    "is what the engine then says",
    async () => {
      const sessionId = await session({ policy: { allowNetwork: true } });
      const id = await create(sessionId, {
        name: "all",
        labels: { own: "1" },
        resourceLimits: {
          nanoCpu: 250_000_000n,
          memoryBytes: 32n * mb,
          memorySwap: 64n * mb,
          pidsLimit: 33n,
        },
        restartPolicy: { name: "on-failure", maximumRetryCount: 3 },
        readOnlyRootfs: true,
        mounts: [{ type: MountType.TMPFS, target: "/t", readOnly: true }],
        ports: [{ containerPort: 53, protocol: "udp", hostIp: "127.0.0.1" }],
      });
      const { container } = await subject.client.orchestrator.getContainer({ containerId: id });
      const answer = await callEngine(subject.dockerHost, `/containers/${container?.runtimeId}/json`);
      expect(await answer.json()).toMatchObject({
        Config: {
          Hostname: "all",
          Labels: { own: "1", "baaaht.session": sessionId, "baaaht.container": id },
        },
        HostConfig: {
          NanoCpus: 250_000_000,
          Memory: 33_554_432,
          MemorySwap: 67_108_864,
          PidsLimit: 33,
          RestartPolicy: { Name: "on-failure", MaximumRetryCount: 3 },
          ReadonlyRootfs: true,
          NetworkMode: `baaaht-${sessionId}`,
          CapDrop: ["ALL"],
          SecurityOpt: ["no-new-privileges:true"],
          Privileged: false,
          PidMode: "",
          IpcMode: "private",
          // Besides it, the server's own init may be there.
          Mounts: expect.arrayContaining([{ Type: "tmpfs", Target: "/t", ReadOnly: true }]),
          PortBindings: { "53/udp": [{ HostIp: "127.0.0.1", HostPort: "" }] },
        },
      });
      const forged = await refused(sessionId, { labels: { "baaaht.session": "x", "baaaht.install": "y" } });
      expect(forged).toMatchObject({ kind: "invalid_argument" });
    },
    TEST_MS,
  );
});

test(
  "1 MB of environment reaches the command",
  async () => {
    const env = Object.fromEntries(Array.from({ length: 10 }, (_, n) => [`E${n}`, "x".repeat(100_000)]));
    const id = await create(await session({}), { env });
    expect(await output(id, "tr '\\0' '\\n' < /proc/1/environ | grep -c '^E.=x'; echo $E9 | wc -c")).toBe(
      "10\n100001\n",
    );
  },
  TEST_MS,
);

async function session(config: MessageInitShape<typeof SessionConfigSchema>): Promise<string> {
  const { sessionId } = await subject.client.orchestrator.createSession({ config });
  sessions.push(sessionId);
  return sessionId;
}

async function close(sessionId: string): Promise<void> {
  await subject.client.orchestrator.closeSession({ sessionId }, { timeoutMs: 60_000 });
}

function hostPaths(...allowedPaths: readonly string[]) {
  return { policy: { allowVolumeMount: true, allowedPaths: [...allowedPaths] } };
}

async function create(sessionId: string, config: Config): Promise<string> {
  const request = { sessionId, config: { image: subject.image, command: FOREVER, ...config } };
  return (await subject.client.orchestrator.createContainer(request, { timeoutMs: 60_000 })).containerId;
}

async function refused(sessionId: string, config: Config): Promise<Failure> {
  return await thrown(() => create(sessionId, config));
}

async function output(containerId: string, script: string): Promise<string> {
  const { stdout } = await exec(subject.client, { containerId, command: ["sh", "-c", script] });
  return stdout.toString();
}

function fieldsOf(sources: readonly string[]): readonly string[] {
  return sources.map((_, index) => `config.mounts[${index}].source`);
}

async function violations(sessionId: string, count: number): Promise<readonly Event[]> {
  const events: Event[] = [];
  const filter = { sessionId, types: [EventType.POLICY_VIOLATION] };
  for await (const event of subject.client.orchestrator.subscribeEvents({ fromStart: true, filter })) {
    events.push(event);
    if (events.length === count) break;
  }
  return events;
}

async function volumesOf(sessionId: string): Promise<readonly string[]> {
  const answer = await callEngine(subject.dockerHost, `/volumes?filters=${ofSession(sessionId)}`);
  const { Volumes } = (await answer.json()) as { Volumes: readonly { Name: string }[] | null }; // by the engine's API
  return (Volumes ?? []).map(({ Name }) => Name);
}

async function networksOf(sessionId: string): Promise<readonly string[]> {
  const answer = await callEngine(subject.dockerHost, `/networks?filters=${ofSession(sessionId)}`);
  return ((await answer.json()) as readonly { Name: string }[]).map(({ Name }) => Name); // by the engine's API
}

function ofSession(sessionId: string): string {
  return encodeURIComponent(JSON.stringify({ label: [`baaaht.session=${sessionId}`] }));
}

function bind(source: string, target: string) {
  return { type: MountType.BIND, source, target };
}

function volume(source: string, target: string) {
  return { type: MountType.VOLUME, source, target };
}

/** All that comes from a port before it is closed. The engine's own listener is there before the container's. */
async function said(hostname: string, port: number): Promise<string> {
  for (let attempt = 0; attempt < 20; attempt += 1) {
    const { promise, resolve } = Promise.withResolvers<string>();
    let text = "";
    await Bun.connect({
      hostname,
      port,
      socket: {
        data: (_, bytes) => {
          text += Buffer.from(bytes).toString();
        },
        close: () => resolve(text),
        error: () => resolve(text),
      },
    });
    if ((await promise) !== "") return text;
  }
  return "";
}

function listening(): AsyncDisposable & { readonly port: number } {
  const server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => undefined } });
  return { port: server.port, [Symbol.asyncDispose]: async () => server.stop(true) };
}
