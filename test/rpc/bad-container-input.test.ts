import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { once } from "node:events";
import { fromBinary } from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import {
  type Event,
  EventType,
  type ExecContainerRequest,
  type ExecContainerResponse,
  ExecContainerResponseSchema,
  OrchestratorService,
} from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { cleared, engineContainers } from "../daemon/engine-containers.ts";
import { engine } from "../engine.ts";
import { startServer, type TestServer } from "../server.ts";
import { type Canary, startCanary } from "./canary.ts";
import { refusalIn, refusalOf, statusOf } from "./refusal.ts";
import { asItIs, encode, pathOf } from "./test-server.ts";

const { method } = OrchestratorService;
const { INVALID_ARGUMENT, FAILED_PRECONDITION, NOT_FOUND, OK } = grpc.status;
const SET_UP_MS = 300_000;
const ENGINE_TEST_MS = 60_000;

let dockerHost: string;
let image: string;
let server: TestServer;
let canary: Canary;
let client: grpc.Client;
let sessionId = "";
let containerId: string;

beforeAll(async () => {
  ({ dockerHost, image } = await engine());
  server = await startServer({ dockerHost });
  canary = await startCanary(server);
  client = new grpc.Client(`unix:${server.socketPath}`, grpc.credentials.createInsecure());
  ({ sessionId } = await server.client.orchestrator.createSession({}));
  const config = { image, command: ["sleep", "1000"] };
  ({ containerId } = await server.client.orchestrator.createContainer(
    { sessionId, config },
    { timeoutMs: ENGINE_TEST_MS },
  ));
}, SET_UP_MS);

afterAll(async () => {
  await using _cleared = cleared(dockerHost, () => sessionId);
  client?.close();
  await canary?.unharmed();
  expect(server.logs()).not.toContain("defect");
  await server?.[Symbol.asyncDispose]();
}, ENGINE_TEST_MS);

describe("CreateContainer() of what the engine refuses", () => {
  const most = 9_223_372_036_854_775_807n;
  test.each([
    ["64 billion processors", { resourceLimits: { nanoCpu: most } }, INVALID_ARGUMENT],
    ["one byte of memory", { resourceLimits: { memoryBytes: 1n } }, INVALID_ARGUMENT],
    [
      "less swap than memory",
      { resourceLimits: { memoryBytes: 100_000_000n, memorySwap: 1n } },
      INVALID_ARGUMENT,
    ],
    ["a program that is not there", { command: ["/no/such/program"] }, FAILED_PRECONDITION],
    ["a folder as its program", { command: ["/tmp"] }, FAILED_PRECONDITION],
    ["an image in capitals", { image: "Upper/Case:::" }, INVALID_ARGUMENT],
  ] as const)(
    "%s is told, and leaves nothing behind",
    async (_, config, code) => {
      const request = { sessionId, config: { image, command: ["sleep", "1000"], ...config }, pull: 2 };
      const refusal = await refusalOf(client, method.createContainer, request, {
        deadline: Date.now() + ENGINE_TEST_MS,
      });
      expect(refusal.code).toBe(code);
      expect(refusal.message).toStartWith("Cannot ");
      await expectOneContainer();
    },
    ENGINE_TEST_MS,
  );

  test.each([
    ["that is not there", ["/no/such/program"], "COMMAND_NOT_FOUND", "127"],
    ["that is in no folder of the PATH", ["no-such-program"], "COMMAND_NOT_FOUND", "127"],
    ["that is a folder", ["/tmp"], "COMMAND_NOT_EXECUTABLE", "126"],
    ["that is no program", ["/etc/passwd"], "COMMAND_NOT_EXECUTABLE", "126"],
  ] as const)(
    "a command %s is told with a shell's code",
    async (_, command, reason, code) => {
      const request = { sessionId, config: { image, command }, pull: 2 };
      const refusal = await refusalOf(client, method.createContainer, request, {
        deadline: Date.now() + ENGINE_TEST_MS,
      });
      expect(refusal).toMatchObject({ code: FAILED_PRECONDITION, reason, metadata: { exit_code: code } });
      expect(refusal.message).toContain(command[0]);
      expect(refusal.message).toContain(`(exit code ${code})`);
    },
    ENGINE_TEST_MS,
  );

  test("a closed session is FAILED_PRECONDITION, an unknown one NOT_FOUND", async () => {
    const { orchestrator } = server.client;
    const { sessionId: closed } = await orchestrator.createSession({});
    await orchestrator.closeSession({ sessionId: closed });
    const config = { image };
    const refusal = await refusalOf(client, method.createContainer, { sessionId: closed, config });
    expect(refusal).toMatchObject({ code: FAILED_PRECONDITION, reason: "SESSION_CLOSED" });
    const unknown = await refusalOf(client, method.createContainer, { sessionId: "0192", config });
    expect(unknown).toMatchObject({ code: NOT_FOUND, reason: "SESSION_NOT_FOUND" });
  });

  test(
    "an image that nobody has is NOT_FOUND, and leaves nothing behind",
    async () => {
      const request = { sessionId, config: { image: "nosuch/thing:1" }, pull: 2 };
      const refusal = await refusalOf(client, method.createContainer, request);
      expect(refusal.code).toBe(NOT_FOUND);
      expect(refusal.message).toContain("nosuch/thing:1");
      await expectOneContainer();
    },
    ENGINE_TEST_MS,
  );

  test(
    "a client that vanishes while it is made leaves nothing behind",
    async () => {
      const since = (await server.client.orchestrator.listContainers({})).cursor;
      const own = new grpc.Client(`unix:${server.socketPath}`, grpc.credentials.createInsecure(), {
        "grpc.use_local_subchannel_pool": 1,
      });
      const request = { sessionId, config: { image, command: ["sleep", "1000"] } };
      const call = own.makeUnaryRequest(
        pathOf(method.createContainer),
        asItIs,
        asItIs,
        encode(method.createContainer, request),
        () => {},
      );
      while ((await engineContainers(dockerHost, sessionId)).length < 2) await Bun.sleep(5); // the engine tells nobody
      call.cancel();
      own.close();
      // It may have been made by then; if not, that is told.
      await eventAfter(since, [EventType.CONTAINER_ERROR, EventType.CONTAINER_CREATED]);
      const made = (await server.client.orchestrator.getSession({ sessionId })).session?.containerIds ?? [];
      const inEngine = async () =>
        (await engineContainers(dockerHost, sessionId))
          .map(({ Labels }) => Labels["baaaht.container"])
          .toSorted();
      // An engine that was not waited for may make it only now; then it is cleared away.
      while (!Bun.deepEquals(await inEngine(), made.toSorted())) await Bun.sleep(5); // the engine tells nobody
      for (const id of made.filter((each) => each !== containerId)) {
        await server.client.orchestrator.removeContainer({ containerId: id, force: true });
      }
    },
    ENGINE_TEST_MS,
  );
});

type Frame = ExecContainerRequest["payload"] | Uint8Array;

describe("ExecContainer() with frames that are wrong", () => {
  const sleeps = () => start(["sleep", "77"]);
  test.each([
    ["a second start", () => sleeps(), "start"],
    ["stdin that was not asked for", () => ({ case: "stdin", value: Buffer.from("x") }) as const, "stdin"],
    ["a signal that there is not", () => ({ case: "signal", value: "SIGNOPE" }) as const, "signal"],
    [
      "a terminal of no size that there is",
      () => ({ case: "resize", value: size(70_000, 1) }) as const,
      "resize.columns",
    ],
    ["nothing", () => ({ case: undefined }) as const, "payload"],
  ])(
    "%s is INVALID_ARGUMENT, and the command is killed",
    async (_, wrong, field) => {
      const exec = open([sleeps()]);
      await exec.next("started");
      exec.send(wrong());
      expect(await exec.end).toMatchObject({ code: INVALID_ARGUMENT, fields: [field] });
      await expectKilled("sleep 77");
    },
    ENGINE_TEST_MS,
  );

  test(
    "bytes that are no frame are INVALID_ARGUMENT, and the command is killed",
    async () => {
      const exec = open([start(["sleep", "78"])]);
      await exec.next("started");
      exec.send(Buffer.alloc(11, 0xff));
      expect(await exec.end).toMatchObject({ code: INVALID_ARGUMENT, reason: "MALFORMED_MESSAGE" });
      await expectKilled("sleep 78");
    },
    ENGINE_TEST_MS,
  );
});

describe("ExecContainer() whose stdin is left open", () => {
  test(
    "ends with the command's code when the command ends by itself",
    async () => {
      const exec = open([start(["sh", "-c", "read line; exit 3"], { stdin: true })]);
      await exec.next("started");
      exec.send({ case: "stdin", value: Buffer.from("go\n") });
      const end = await exec.next("end");
      expect(end.payload.value).toMatchObject({ how: { case: "exited", value: { code: 3 } } });
      expect((await exec.end).code).toBe(OK);
    },
    ENGINE_TEST_MS,
  );

  test(
    "has its command killed when the client vanishes, and the log says so",
    async () => {
      const since = (await server.client.orchestrator.listContainers({})).cursor;
      const own = new grpc.Client(`unix:${server.socketPath}`, grpc.credentials.createInsecure(), {
        "grpc.use_local_subchannel_pool": 1,
      });
      const exec = open([start(["sh", "-c", "cat; sleep 79"], { stdin: true })], own);
      await exec.next("started");
      exec.cancel();
      own.close();
      const finished = await eventAfter(since, [EventType.EXEC_FINISHED]);
      expect(finished.data.end).toBe("cancelled");
      await expectKilled("cat");
    },
    ENGINE_TEST_MS,
  );

  test(
    "a size for the terminal of a command that is over at once does not cost its end",
    async () => {
      for (let round = 0; round < 5; round += 1) {
        const exec = open([start(["true"], { tty: true, size: size(80, 24) })]);
        expect((await exec.next("end")).payload.value).toMatchObject({
          how: { case: "exited", value: { code: 0 } },
        });
        expect((await exec.end).code).toBe(OK);
      }
    },
    ENGINE_TEST_MS,
  );
});

function start(command: string[], more: Record<string, unknown> = {}): Frame {
  return { case: "start", value: { containerId, command, ...more } } as unknown as Frame; // an init of it, which encode() takes
}

function size(columns: number, rows: number) {
  return { columns, rows, $typeName: "proto.orchestrator.v1.TerminalSize" } as const;
}

/** An exec of which the answers are taken one by one. The client never half-closes it. */
function open(frames: readonly Frame[], over: grpc.Client = client) {
  const call = over.makeBidiStreamRequest(pathOf(method.execContainer), asItIs, asItIs);
  const answers: ExecContainerResponse[] = [];
  call.on("data", (bytes: Buffer) => answers.push(fromBinary(ExecContainerResponseSchema, bytes)));
  const send = (frame: Frame) =>
    call.write(
      frame instanceof Uint8Array ? Buffer.from(frame) : encode(method.execContainer, { payload: frame }),
    );
  for (const frame of frames) send(frame);
  return {
    send,
    cancel: () => call.cancel(),
    end: statusOf(call).then(refusalIn),
    next: async (kind: ExecContainerResponse["payload"]["case"]): Promise<ExecContainerResponse> => {
      for (;;) {
        const found = answers.find(({ payload }) => payload.case === kind);
        if (found !== undefined) return found;
        await once(call, "data");
      }
    },
  };
}

/** Waits until no process of the container has these words: it was killed, and the engine tells nobody. */
async function expectKilled(words: string): Promise<void> {
  const deadline = performance.now() + 10_000;
  for (;;) {
    const exec = open([start(["ps", "-o", "args"])]);
    const chunks = (await exec.next("stdout")).payload.value;
    await exec.end;
    const running = Buffer.from(chunks instanceof Uint8Array ? chunks : [])
      .toString()
      .split("\n");
    if (!running.some((line) => line.trim() === words)) return;
    if (performance.now() > deadline) expect(running).not.toContain(words);
  }
}

async function expectOneContainer(): Promise<void> {
  const { session } = await server.client.orchestrator.getSession({ sessionId });
  expect(session?.containerIds).toEqual([containerId]);
  expect(await engineContainers(dockerHost, sessionId)).toHaveLength(1);
}

async function eventAfter(resumeAfter: string, types: EventType[]): Promise<Event> {
  for await (const event of server.client.orchestrator.subscribeEvents({ resumeAfter, filter: { types } }))
    return event;
  throw new Error("the subscription ended without an event");
}
