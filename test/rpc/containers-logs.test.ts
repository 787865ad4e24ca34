import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampDate, timestampMs } from "@bufbuild/protobuf/wkt";
import {
  type ContainerLogChunk,
  LogStream,
  type StreamContainerLogsRequestSchema,
} from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { thrown } from "../client/thrown.ts";
import { engine } from "../engine.ts";
import { type ContainerServer, containerServer, residentMiB } from "./container-client.ts";

let shared: ContainerServer;

beforeAll(async () => {
  await engine();
  shared = await containerServer();
}, 300_000);
afterAll(() => shared[Symbol.asyncDispose]());

describe("StreamContainerLogs", () => {
  let id = "";
  beforeAll(async () => {
    const lines = "for n in 1 2 3; do echo out $n; echo err $n >&2; done; printf '\\377\\000'";
    id = await shared.create({ command: ["sh", "-c", lines] });
    await shared.client.orchestrator.waitContainer({ containerId: id });
  });

  test("gives all that was written, byte for byte, with stdout and stderr apart", async () => {
    const all = await logs({});
    expect(text(all, LogStream.STDOUT)).toBe("out 1\nout 2\nout 3\n\xff\0");
    expect(text(all, LogStream.STDERR)).toBe("err 1\nerr 2\nerr 3\n");
    expect(all.every(({ timestamp }) => timestamp === undefined)).toBe(true);
    expect(text(await logs({ stdout: true }))).toBe("out 1\nout 2\nout 3\n\xff\0");
    expect(text(await logs({ stderr: true }))).toBe("err 1\nerr 2\nerr 3\n");
    expect(text(await logs({ follow: true }), LogStream.STDERR)).toBe("err 1\nerr 2\nerr 3\n");
  });

  test("gives the last lines, and none of them", async () => {
    // The engine counts the lines of both streams together, so this container writes to one of them.
    const containerId = await shared.create({ command: ["seq", "1", "100"] });
    await shared.client.orchestrator.waitContainer({ containerId });
    expect(text(await logs({ tail: 2 }, containerId))).toBe("99\n100\n");
    expect(await logs({ tail: 0 }, containerId)).toEqual([]);
    expect(text(await logs({ tail: 1_000_000 }, containerId))).toStartWith("1\n2\n");
  });

  test("says when each line was written, and begins and ends by that", async () => {
    const timed = await logs({ timestamps: true, stderr: true });
    expect(timed).toHaveLength(3);
    const times = timed.map(({ timestamp }) => (timestamp ? timestampMs(timestamp) : Number.NaN));
    expect(times).toEqual(times.toSorted((one, other) => one - other));
    const { container } = await shared.client.orchestrator.getContainer({ containerId: id });
    const from = container?.startedAt ? timestampDate(container.startedAt).getTime() : Number.NaN;
    expect(Math.min(...times)).toBeGreaterThanOrEqual(from - 1_000);
    const past = { seconds: 1n, nanos: 0 };
    const future = { seconds: BigInt(Math.floor(Date.now() / 1_000) + 3_600), nanos: 0 };
    expect(text(await logs({ since: past, stderr: true }))).toBe("err 1\nerr 2\nerr 3\n");
    expect(await logs({ since: future })).toEqual([]);
    expect(await logs({ until: past })).toEqual([]);
  });

  test("follows what is written until the container ends, for each of its readers", async () => {
    const command = ["sh", "-c", "trap 'echo bye; exit 0' TERM; echo hi; while :; do sleep 0.05; done"];
    const containerId = await shared.create({ command });
    const readers = await Promise.all(
      Array.from({ length: 5 }, async () => {
        const stream = shared.client.orchestrator.streamContainerLogs({ containerId, follow: true });
        const reader = stream[Symbol.asyncIterator]();
        const first = await reader.next();
        expect(Buffer.from(first.value?.data ?? []).toString()).toBe("hi\n");
        return reader;
      }),
    );
    await shared.client.orchestrator.stopContainer({ containerId });
    for (const reader of readers) {
      let rest = "";
      for (let next = await reader.next(); next.done !== true; next = await reader.next())
        rest += Buffer.from(next.value.data).toString();
      expect(rest).toBe("bye\n");
    }
  });

  test("ends when the container is removed under it", async () => {
    const containerId = await shared.create({
      command: ["sh", "-c", "echo hi; while :; do sleep 0.05; done"],
    });
    const stream = shared.client.orchestrator.streamContainerLogs({ containerId, follow: true });
    let said = "";
    for await (const { data } of stream) {
      said += Buffer.from(data).toString();
      await shared.client.orchestrator.removeContainer({ containerId, force: true });
    }
    expect(said).toBe("hi\n");
    expect((await thrown(() => logs({}, containerId))).kind).toBe("not_found");
  });

  test.each([
    ["container_id", { containerId: "" }],
    ["tail", { tail: -1 }],
    ["since", { since: { seconds: 1n, nanos: -1 } }],
    ["until", { until: { seconds: 9_000_000_000_000_000n, nanos: 0 } }],
  ] as const)("names %s when that is wrong", async (field, request) => {
    const failure = await thrown(() => logs(request));
    expect(failure).toMatchObject({ kind: "invalid_argument", details: { violations: [{ field }] } });
  });

  async function logs(
    request: MessageInitShape<typeof StreamContainerLogsRequestSchema>,
    containerId = id,
  ): Promise<ContainerLogChunk[]> {
    const stream = shared.client.orchestrator.streamContainerLogs({ containerId, ...request });
    return await Array.fromAsync(stream);
  }
});

describe("a log that grows faster than its client reads", () => {
  test("keeps the server's memory flat, and gives the engine's connection back when it is left", async () => {
    await using own = await containerServer();
    const { pid } = own.server;
    const id = await own.create({ command: ["yes", "x".repeat(200)] });
    const open = async () =>
      (await Array.fromAsync(new Bun.Glob("*").scan({ cwd: `/proc/${pid}/fd`, onlyFiles: false }))).length;
    const before = { memory: await residentMiB(pid), files: await open() };
    const client = own.server.connect();
    const stream = client.orchestrator.streamContainerLogs({ containerId: id, follow: true });
    const reader = stream[Symbol.asyncIterator]();
    let most = 0;
    for (let read = 0; read < 15; read += 1) {
      await reader.next();
      await Bun.sleep(100); // a slow reader is what is tested
      most = Math.max(most, await residentMiB(pid));
    }
    expect(most - before.memory).toBeLessThan(60);
    await reader.return?.();
    await client[Symbol.asyncDispose]();
    while ((await open()) > before.files + 1) await Bun.sleep(20); // /proc tells nobody
  }, 30_000);
});

describe("output that ends without the end of a line", () => {
  const digits = { out: digitsOf(100_000, 799_999), err: digitsOf(200_000, 899_999) };
  const sequence = (from: number, to: number) => `seq ${from} ${to} | tr -d '\\n'`;
  const command = ["sh", "-c", `${sequence(200_000, 899_999)} >&2 & ${sequence(100_000, 799_999)}; wait`];

  test("is whole, byte for byte, for who follows from the start and for who follows the log", async () => {
    const containerId = await shared.create({ command });
    const follow = () =>
      Array.fromAsync(shared.client.orchestrator.streamContainerLogs({ containerId, follow: true }));
    for (const all of await Promise.all([follow(), follow()])) expect(apart(all)).toEqual(hashes(digits));
  }, 60_000);

  test("is whole for who follows from the start also when the log has dropped most of it", async () => {
    await using own = await containerServer({ env: { BAAAHT_RUNTIME_MAX_LOG_BYTES: "1MiB" } });
    const containerId = await own.create({ command });
    const stream = own.client.orchestrator.streamContainerLogs({ containerId, follow: true });
    expect(apart(await Array.fromAsync(stream))).toEqual(hashes(digits));
  }, 60_000);

  function digitsOf(from: number, to: number): Buffer {
    return Buffer.from(Array.from({ length: to - from + 1 }, (_, n) => from + n).join(""));
  }

  function apart(chunks: readonly ContainerLogChunk[]) {
    const of = (stream: LogStream) => Buffer.from(text(chunks, stream), "latin1");
    return hashes({ out: of(LogStream.STDOUT), err: of(LogStream.STDERR) });
  }

  /** What can be compared, and shown when it differs. */
  function hashes({ out, err }: { readonly out: Buffer; readonly err: Buffer }) {
    const of = (data: Buffer) => `${data.length} bytes, sha1 ${Bun.SHA1.hash(data, "hex")}`;
    return { out: of(out), err: of(err) };
  }
});

function text(chunks: readonly ContainerLogChunk[], stream?: LogStream): string {
  const wanted = chunks.filter((chunk) => stream === undefined || chunk.stream === stream);
  return Buffer.concat(wanted.map(({ data }) => data)).toString("latin1");
}
