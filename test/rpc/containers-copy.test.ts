import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { CallOptions } from "../../src/client/call-options.ts";
import {
  type CopyToContainerRequestSchema,
  type CopyToContainerStart,
  PathKind,
} from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { thrown } from "../client/thrown.ts";
import { tar, untar } from "../contract/runtime-copies.ts";
import { type ContainerServer, containerServer, exec, residentMiB } from "./container-client.ts";

type Frame = MessageInitShape<typeof CopyToContainerRequestSchema>;

let shared: ContainerServer;
let containerId: string;

beforeAll(async () => {
  shared = await containerServer();
  containerId = await shared.create();
}, 300_000);
afterAll(() => shared[Symbol.asyncDispose]());

const TIMEOUT_MS = 120_000;

async function copyIn(
  start: Partial<CopyToContainerStart>,
  archive: AsyncIterable<Uint8Array>,
  options: CallOptions = { timeoutMs: 60_000 },
): Promise<bigint> {
  async function* frames(): AsyncGenerator<Frame> {
    yield { payload: { case: "start", value: { containerId, path: "/tmp", ...start } } };
    for await (const data of archive) yield { payload: { case: "data", value: data } };
  }
  return (await shared.client.orchestrator.copyToContainer(frames(), options)).bytesWritten;
}

async function* copyOut(path: string, from = containerId): AsyncGenerator<Uint8Array> {
  for await (const { data, stat } of shared.client.orchestrator.copyFromContainer({
    containerId: from,
    path,
  }))
    if (stat === undefined) yield data;
}

async function* bytes(...pieces: readonly (string | Uint8Array)[]): AsyncGenerator<Uint8Array> {
  for (const piece of pieces) yield Buffer.from(piece);
}

/** An archive of one file of so many blocks of a MiB, of which only one is ever held. */
async function* large(name: string, blocks: number): AsyncGenerator<Uint8Array> {
  const chunk = Buffer.alloc(1024 * 1024, 7);
  const head: Uint8Array[] = [];
  for await (const piece of tar([[{ name, size: 0 }, ""]])) head.push(piece);
  const header = Buffer.concat(head).subarray(0, 512);
  header.write(`${(blocks * chunk.length).toString(8).padStart(11, "0")}\0`, 124);
  header.write("        ", 148);
  header.write(
    `${header
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, "0")}\0 `,
    148,
  );
  yield header;
  for (let block = 0; block < blocks; block += 1) yield chunk;
  yield Buffer.alloc(1024);
}

test("CopyToContainer and CopyFromContainer carry a folder both ways, after a frame that says what it is", async () => {
  const archive = tar([
    [{ name: "box", type: "directory" }, ""],
    [{ name: "box/run", mode: 0o755 }, "echo hi\n"],
  ]);
  expect(await copyIn({}, archive)).toBe(2_560n);
  expect(
    (await exec(shared.client, { containerId, command: ["sh", "/tmp/box/run"] })).stdout.toString(),
  ).toBe("hi\n");
  const frames = [];
  for await (const frame of shared.client.orchestrator.copyFromContainer({ containerId, path: "/tmp/box" }))
    frames.push(frame);
  expect(frames[0]).toMatchObject({ stat: { name: "box", kind: PathKind.FOLDER }, data: new Uint8Array(0) });
  const found = await untar(bytes(...frames.map(({ data }) => data)));
  expect(found.map(([{ name }, content]) => [name, content])).toEqual([
    ["box/", ""],
    ["box/run", "echo hi\n"],
  ]);
  const { stat } = await shared.client.orchestrator.statContainerPath({ containerId, path: "/tmp/box/run" });
  expect(stat).toMatchObject({ name: "run", kind: PathKind.FILE, size: 8n, mode: 0o755 });
});

test(
  "hundreds of megabytes go through both ways, and the server's memory stays as it is",
  async () => {
    const blocks = 400;
    await copyIn({}, large("warm", 4));
    const before = await residentMiB(shared.server.pid);
    let most = before;
    async function* watched() {
      let count = 0;
      for await (const piece of large("big", blocks)) {
        yield piece;
        count += 1;
        if (count % 16 === 0) most = Math.max(most, await residentMiB(shared.server.pid));
      }
    }
    expect(await copyIn({}, watched())).toBe(BigInt(blocks * 1024 * 1024 + 1536));
    let size = 0;
    let count = 0;
    for await (const data of copyOut("/tmp/big")) {
      size += data.byteLength;
      count += 1;
      if (count % 32 === 0) most = Math.max(most, await residentMiB(shared.server.pid));
    }
    expect(size).toBeGreaterThanOrEqual(blocks * 1024 * 1024 + 1536);
    // Of pieces that are done with, some are still there until the next collection; of 400 MiB, the most are not.
    expect(most - before).toBeLessThan(220);
    await exec(shared.client, { containerId, command: ["rm", "/tmp/big", "/tmp/warm"] });
  },
  TIMEOUT_MS,
);

test("a copy that is cancelled, either way, leaves the server and the engine able to go on", async () => {
  await copyIn({}, large("half", 40));
  const into = new AbortController();
  const cut = thrown(() =>
    copyIn(
      {},
      (async function* () {
        for await (const piece of large("cut", 40)) {
          yield piece;
          if (piece.length > 512) into.abort();
        }
      })(),
      { signal: into.signal },
    ),
  );
  expect((await cut).kind).toBe("cancelled");
  for await (const data of copyOut("/tmp/half")) {
    expect(data.byteLength).toBeGreaterThan(0);
    break;
  }
  expect(await copyIn({}, tar([[{ name: "after" }, "x"]]))).toBe(2_048n);
  await shared.client.orchestrator.removeContainer(
    { containerId: await shared.create(), force: true },
    { timeoutMs: 30_000 },
  );
});

describe("a copy that can't be made", () => {
  const one = () => tar([[{ name: "one" }, "1"]]);

  test("says whether the path is missing, or no folder", async () => {
    expect(await thrown(() => copyIn({ path: "/no/such" }, one()))).toMatchObject({
      kind: "not_found",
      details: { reason: "PATH_NOT_FOUND", metadata: { path: "/no/such" } },
    });
    await copyIn({}, one());
    expect(await thrown(() => copyIn({ path: "/tmp/one" }, one()))).toMatchObject({
      kind: "failed_precondition",
      details: { reason: "PATH_NOT_A_FOLDER" },
    });
    expect(await thrown(() => untar(copyOut("/no/such")))).toMatchObject({
      kind: "not_found",
      details: { reason: "PATH_NOT_FOUND" },
    });
    const stat = thrown(() =>
      shared.client.orchestrator.statContainerPath({ containerId, path: "/no/such" }),
    );
    expect((await stat).details.reason).toBe("PATH_NOT_FOUND");
  });

  test("says that the container is gone, or may only be read", async () => {
    for (const gone of [
      () => copyIn({ containerId: "nobody" }, one()),
      () => untar(copyOut("/tmp", "nobody")),
      () => shared.client.orchestrator.statContainerPath({ containerId: "nobody", path: "/tmp" }),
    ]) {
      expect((await thrown(gone)).details.reason).toBe("CONTAINER_NOT_FOUND");
    }
    const sealed = await shared.create({ readOnlyRootfs: true });
    expect(await thrown(() => copyIn({ containerId: sealed }, one()))).toMatchObject({
      kind: "failed_precondition",
      details: { reason: "PATH_NOT_WRITABLE" },
    });
  });

  test.each([
    ["garbage", () => bytes("garbage".repeat(200))],
    ["compressed bytes", () => bytes(Bun.gzipSync(Buffer.alloc(100_000, 1)), Buffer.alloc(512, 1))],
    ["nothing", () => bytes()],
    ["a piece of a block", () => bytes("short")],
    [
      "an archive that is cut off",
      async function* () {
        for await (const piece of large("cut", 2)) {
          yield piece.subarray(0, 100_000);
          if (piece.length > 512) return;
        }
      },
    ],
  ])("of %s is INVALID_ARGUMENT and names data", async (_, archive) => {
    const { kind, details } = await thrown(() => copyIn({}, archive()));
    expect(kind).toBe("invalid_argument");
    expect(details.violations).toMatchObject([{ field: "data" }]);
  });

  test.each([
    ["no container", { containerId: "" }, "start.container_id", "is missing"],
    ["no path", { path: "" }, "start.path", "is missing"],
    ["a path that is not absolute", { path: "tmp" }, "start.path", "has to be absolute"],
    ["a path with a NUL", { path: "/tmp\0" }, "start.path", "NUL"],
    ["a path without an end", { path: `/${"x".repeat(5_000)}` }, "start.path", "5001 characters"],
  ])("with %s is INVALID_ARGUMENT and names the field", async (_, start, field, why) => {
    const violations = [{ field, description: expect.stringContaining(why) }];
    expect((await thrown(() => copyIn(start, one()))).details.violations).toMatchObject(violations);
    const plain = { containerId, path: "/tmp", ...start };
    const bare = [{ field: field.replace("start.", ""), description: expect.stringContaining(why) }];
    const { orchestrator } = shared.client;
    expect((await thrown(() => orchestrator.statContainerPath(plain))).details.violations).toMatchObject(
      bare,
    );
    const out = thrown(async () => {
      for await (const _frame of orchestrator.copyFromContainer(plain));
    });
    expect((await out).details.violations).toMatchObject(bare);
  });

  test.each([
    ["without start", [{ payload: { case: "data", value: Buffer.from("x") } }], "start"],
    ["without a frame", [], "start"],
    [
      "with start twice",
      [1, 2].map(() => ({ payload: { case: "start", value: { containerId, path: "/tmp" } } })),
      "start",
    ],
  ] as const)("%s is INVALID_ARGUMENT and names start", async (_, frames, field) => {
    const failure = await thrown(() =>
      shared.client.orchestrator.copyToContainer(
        (async function* () {
          for (const frame of frames) {
            const { payload } = frame as Frame & { payload: { case: string; value: object } }; // as: the rows are narrower
            // The container is made only when the tests run.
            yield (
              payload.case === "start"
                ? { payload: { case: "start", value: { containerId, path: "/tmp" } } }
                : frame
            ) as Frame;
          }
        })(),
      ),
    );
    expect(failure.kind).toBe("invalid_argument");
    expect(failure.details.violations).toMatchObject([{ field }]);
  });

  test("because of its names writes nothing outside the container", async () => {
    const name = `escaped-${crypto.randomUUID()}`;
    const evil = tar([
      [{ name: `../../../../../../tmp/${name}` }, "x"],
      [{ name: "out", type: "symlink", linkname: "/../../../../../../tmp" }, ""],
      [{ name: `out/${name}` }, "x"],
    ]);
    await copyIn({}, evil).catch(() => {}); // an engine may refuse it, or keep it inside
    expect(await Bun.file(`/tmp/${name}`).exists()).toBe(false);
    const passwd = tar([[{ name: "host", type: "symlink", linkname: "/proc/1/root/etc/hostname" }, ""]]);
    await copyIn({}, passwd);
    const [found] = await untar(copyOut("/tmp/host"));
    expect(found?.[0].type).toBe("symlink"); // the link itself, and not what it leads to
  });
});

test("more copies at once than there may be are RESOURCE_EXHAUSTED", async () => {
  await using small = await containerServer({ env: { BAAAHT_RUNTIME_MAX_COPIES: "1" } });
  const { orchestrator } = small.client;
  const id = await small.create();
  const more = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  async function* frames(): AsyncGenerator<Frame> {
    yield { payload: { case: "start", value: { containerId: id, path: "/tmp" } } };
    for await (const data of large("slow", 1)) {
      yield { payload: { case: "data", value: data } };
      begun.resolve();
      await more.promise;
    }
  }
  const first = orchestrator.copyToContainer(frames());
  await begun.promise;
  const other = await small.create();
  const refused = await thrown(async () => {
    // It is refused once the first has been taken in.
    for (;;) for await (const _ of orchestrator.copyFromContainer({ containerId: other, path: "/bin" }));
  });
  expect(refused).toMatchObject({ kind: "resource_exhausted", details: { reason: "TOO_MANY_COPIES" } });
  more.resolve();
  await first;
}, 60_000);

test("a copy that stalls ends by itself, and does not keep its container from being removed", async () => {
  await using patient = await containerServer({ env: { BAAAHT_GRPC_STALLED_STREAM_TIMEOUT: "2s" } });
  const { orchestrator } = patient.client;
  const stalling = async (id: string, begun: () => void) => {
    async function* frames(): AsyncGenerator<Frame> {
      yield { payload: { case: "start", value: { containerId: id, path: "/tmp" } } };
      for await (const data of large("slow", 1)) {
        yield { payload: { case: "data", value: data } };
        begun();
        await new Promise(() => {});
      }
    }
    return await thrown(() => orchestrator.copyToContainer(frames()));
  };
  const stalled = await stalling(await patient.create(), () => {});
  expect(stalled).toMatchObject({ kind: "resource_exhausted", details: { reason: "CLIENT_STALLED" } });
  const id = await patient.create();
  const begun = Promise.withResolvers<void>();
  const cut = stalling(id, begun.resolve);
  await begun.promise;
  await orchestrator.removeContainer({ containerId: id, force: true }, { timeoutMs: 30_000 });
  expect((await cut).kind).toMatch(/aborted|not_found|resource_exhausted/);
}, 60_000);
