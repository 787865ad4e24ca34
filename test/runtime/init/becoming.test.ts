import { describe, expect, test } from "bun:test";
import { connectDocker } from "../../../src/runtime/docker/docker.ts";
import type { Becoming, ContainerSpec, LimitSpec, Prepared } from "../../../src/runtime/runtime.ts";
import { all, failure, Subject, soon, text } from "../../contract/runtime-subject.ts";
import { engine } from "../../engine.ts";
import { initFile } from "../../init.ts";

const hardened = { dropCapabilities: ["ALL"], noNewPrivileges: true, init: false } as const;
const limits: LimitSpec = {
  nanoCpu: 1_000_000_000n,
  memoryBytes: 256n << 20n,
  memorySwapBytes: 256n << 20n,
  pids: 100n,
};
const showLimits =
  "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes pids/pids.max cpu/cpu.cfs_quota_us memory.max memory.swap.max pids.max cpu.max 2>/dev/null; ulimit -a";
/** Which of its networks is eth0 is another one each time where the engine starts it with several. */
const showNetwork =
  "ls /sys/class/net; cut -f 2-3,8 /proc/net/route | sort; cat /etc/resolv.conf; grep -c . /etc/hosts; ls -ln /etc/hosts /etc/resolv.conf | cut -c 1-30; cat /proc/sys/net/ipv6/conf/all/disable_ipv6";

const subject = new Subject(async () => {
  const { dockerHost, image } = await engine();
  return { runtime: connectDocker({ dockerHost, initFile: initFile() }), image };
});

describe("become()", () => {
  test("gives the limits that a container has which was created with them", async () => {
    const prepared = await prepare({ limits });
    const less = {
      nanoCpu: 500_000_000n,
      memoryBytes: 64n << 20n,
      memorySwapBytes: 128n << 20n,
      pids: 20n,
    };
    const said = await became(prepared, { limits: less, script: showLimits });
    expect(said).toBe(await cold(showLimits, { limits: less }));
    expect(said).toContain("\n20\n");
  });

  test("gives the networks that a container has which was created with them, and it had none before", async () => {
    await using networks = await twoNetworks();
    const [networkMode, other] = networks.names;
    const prepared = await prepare({ limits, networkMode });
    const before = await subject.run(prepared.facts.id, ["ls", "/sys/class/net"]);
    expect(before.stdout).toBe("lo\n");
    const over = { networkMode, networks: [other], limits };
    const said = await became(prepared, { ...over, script: showNetwork });
    expect(said).toContain("eth0\neth1\nlo\n");
    expect(said).toBe(await cold(showNetwork, over));
  });

  test("lets it be found by its name and reach others by theirs", async () => {
    await using networks = await twoNetworks();
    const [networkMode] = networks.names;
    const listen = "while :; do echo heard | nc -l -p 8080; done";
    const spec = subject.script(listen, { limits, networkMode });
    const listener = await subject.started(spec);
    const prepared = await prepare({ limits, networkMode });
    const call = (name: string) => `until nc -w 2 ${name} 8080 </dev/null; do sleep 0.1; done`;
    const becoming = { ...process, limits, networkMode, args: [`${call(spec.name)}; ${listen}`] };
    await prepared.become(becoming, { onEnding: (letGo) => letGo() }, soon());
    const first = await prepared.output[Symbol.asyncIterator]().next();
    expect(text(first.done === true ? [] : [first.value])).toBe("heard\n");
    const { stdout } = await subject.run(listener, ["sh", "-c", call(prepared.facts.name)]);
    expect(stdout).toBe("heard\n");
  });

  test("is FAILED_PRECONDITION where the engine refuses limits or a network, and nothing has begun", async () => {
    for (const over of [{ limits: { ...limits, memoryBytes: 1n } }, { networkMode: "no-such-network" }]) {
      const prepared = await prepare({ limits, networkMode: "some-network" });
      const becoming = { ...process, limits, networkMode: "none", args: ["echo begun"], ...over };
      const refused = await failure(prepared.become(becoming, { onEnding: (letGo) => letGo() }, soon()));
      expect(refused.kind).toBe("failed_precondition");
      expect(await subject.text(prepared.facts.id, { follow: false })).toBe("");
    }
  });
});

test("suits() tells what limits and networks a container can get", async () => {
  const apart = await prepare({ limits });
  const becoming = { ...process, limits, networkMode: "none" };
  const swapping = { ...limits, memorySwapBytes: -1n };
  expect(apart.suits(becoming)).toBe(true);
  expect(apart.suits({ ...becoming, limits: { ...limits, pids: 7n } })).toBe(true);
  expect(apart.suits({ ...becoming, limits: { ...limits, pids: 0n } })).toBe(false);
  expect(apart.suits({ ...becoming, limits: swapping })).toBe(false);
  expect(apart.suits({ ...becoming, networkMode: "some-network" })).toBe(false);
  const other = await prepare({ limits: swapping, networkMode: "some-network" });
  expect(other.suits({ ...becoming, limits: swapping, networkMode: "another-network" })).toBe(true);
  expect(other.suits({ ...becoming, limits: swapping })).toBe(false);
});

const process = { command: ["sh", "-c"], args: [], env: {}, workingDir: "" };

async function prepare(over: Partial<ContainerSpec>): Promise<Prepared> {
  const spec = subject.script("", { ...hardened, ...over });
  const prepared = await subject.runtime.prepare?.(spec, soon());
  if (prepared === undefined) throw new Error("this runtime prepares no containers");
  return prepared;
}

async function became(
  prepared: Prepared,
  { script, ...over }: Partial<Becoming> & { readonly script: string },
): Promise<string> {
  const becoming = { ...process, limits, networkMode: "none", ...over, args: [script] };
  await prepared.become(becoming, { onEnding: (letGo) => letGo() }, soon());
  return text(await all(prepared.output));
}

/** The same in a container that the engine has made of it. */
async function cold(script: string, over: Partial<ContainerSpec>): Promise<string> {
  return await subject.text(await subject.ran(subject.script(script, { ...hardened, ...over })));
}

async function twoNetworks() {
  const names = [`contract-${crypto.randomUUID()}`, `contract-${crypto.randomUUID()}`] as const;
  const { networks } = subject.runtime;
  for (const name of names) await networks.create({ name, labels: subject.label }, soon());
  return {
    names,
    [Symbol.asyncDispose]: async () => {
      for (const name of names) await networks.remove(name, soon());
    },
  };
}
