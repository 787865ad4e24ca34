import { expect, test } from "bun:test";
import { failure, type Subject, soon } from "./runtime-subject.ts";

const FOREVER = "sleep 100000";

export function surroundingsContract(subject: Subject): void {
  networks(subject);
  volumes(subject);
  ports(subject);
}

function networks(subject: Subject): void {
  test("networks: made once, found by name and by labels, and removed, also again", async () => {
    const spec = named(subject);
    const { networks } = subject.runtime;
    await using _removed = removing(() => networks.remove(spec.name, soon()));
    expect(await networks.get(spec.name, soon())).toBeUndefined();
    await networks.create(spec, soon());
    expect((await failure(networks.create(spec, soon()))).kind).toBe("already_exists");
    expect(await networks.get(spec.name, soon())).toEqual(spec);
    expect(await networks.list(spec.labels, soon())).toEqual([spec]);
    expect(await networks.list({ ...spec.labels, other: "1" }, soon())).toEqual([]);
    await networks.remove(spec.name, soon());
    await networks.remove(spec.name, soon());
    expect(await networks.get(spec.name, soon())).toBeUndefined();
    expect(await networks.list(spec.labels, soon())).toEqual([]);
  });

  test("networks: one with a container in it is removed, and the container runs on", async () => {
    const spec = named(subject);
    const { networks } = subject.runtime;
    await using _removed = removing(() => networks.remove(spec.name, soon()));
    await networks.create(spec, soon());
    const id = await subject.started(
      subject.script(FOREVER, { networkMode: spec.name, aliases: ["one"], hostname: "one" }),
    );
    await networks.remove(spec.name, soon());
    expect((await subject.facts(id)).state).toBe("running");
    await subject.runtime.remove(id, soon());
  });

  test("a container with a network that is not there is never started", async () => {
    const { runtime } = subject;
    const first = named(subject);
    await using _removed = removing(() => runtime.networks.remove(first.name, soon()));
    await runtime.networks.create(first, soon());
    for (const [networkMode, networks] of [
      [first.name, ["contract-nowhere"]],
      ["contract-nowhere", []],
    ] as const) {
      const spec = subject.script(FOREVER, { networkMode, networks, aliases: [] });
      expect(["not_found", "failed_precondition"]).toContain((await failure(subject.started(spec))).kind);
      for (const { id, state, name } of await runtime.list(spec.labels, soon())) {
        if (name !== spec.name) continue;
        expect(state).not.toBe("running");
        await runtime.remove(id, soon());
      }
    }
  });
}

function volumes(subject: Subject): void {
  test("volumes: one that is there keeps its labels; removed when no container has it", async () => {
    const spec = named(subject);
    const { volumes } = subject.runtime;
    await using _removed = removing(() => volumes.remove(spec.name, soon()));
    expect(await volumes.create(spec, soon())).toEqual(spec);
    expect(await volumes.create({ ...spec, labels: { other: "1" } }, soon())).toEqual(spec);
    expect(await volumes.list(spec.labels, soon())).toEqual([spec]);
    const mounts = [{ kind: "volume", source: spec.name, target: "/data", readOnly: false }] as const;
    const id = await subject.created(subject.script("true", { mounts }));
    expect((await failure(volumes.remove(spec.name, soon()))).kind).toBe("failed_precondition");
    await subject.runtime.remove(id, soon());
    await volumes.remove(spec.name, soon());
    await volumes.remove(spec.name, soon());
    expect(await volumes.list(spec.labels, soon())).toEqual([]);
  });
}

function ports(subject: Subject): void {
  const port = { containerPort: 80, hostPort: 0, protocol: "tcp", hostIp: "127.0.0.1" } as const;

  test("start() chooses a host port where none is named; a taken one is PORT_IN_USE and has a holder", async () => {
    const { runtime } = subject;
    const spec = subject.script(FOREVER, { networkMode: "bridge", ports: [port] });
    const id = await subject.started(spec);
    const [chosen] = (await subject.facts(id)).ports;
    const hostPort = chosen?.hostPort ?? 0;
    expect(chosen).toEqual({ ...port, hostPort });
    expect(hostPort).toBeGreaterThan(0);
    expect(await runtime.portHolders({ hostPort, protocol: "tcp" }, soon())).toEqual([
      { name: spec.name, labels: expect.objectContaining(spec.labels) },
    ]);
    expect(await runtime.portHolders({ hostPort, protocol: "udp" }, soon())).toEqual([]);
    const second = await subject.created(
      subject.script(FOREVER, { networkMode: "bridge", ports: [{ ...port, hostPort }] }),
    );
    const refused = await failure(runtime.start(second, soon()));
    expect(refused).toMatchObject({
      kind: "failed_precondition",
      details: { reason: "PORT_IN_USE", metadata: { port: String(hostPort) } },
    });
    await runtime.remove(id, soon());
    expect(await runtime.portHolders({ hostPort, protocol: "tcp" }, soon())).toEqual([]);
    await runtime.remove(second, soon());
  });
}

function named({ label }: Subject) {
  return { name: `contract-${crypto.randomUUID()}`, labels: { ...label, one: crypto.randomUUID() } };
}

function removing(remove: () => Promise<void>): AsyncDisposable {
  return { [Symbol.asyncDispose]: remove };
}
