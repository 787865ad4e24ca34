import { afterAll, beforeAll, expect, test } from "bun:test";
import { processes, readProcess } from "../../scripts/dockerd.ts";
import { ExecState } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { cleared } from "../daemon/engine-containers.ts";
import { engine, type TestEngine } from "../engine.ts";
import { PROGRAM } from "../program.ts";
import { startServer, type TestServer } from "../server.ts";
import { baaaht } from "./command-line.ts";
import { Terminal } from "./terminal.ts";

let host: TestEngine;
let server: TestServer;

beforeAll(async () => {
  host = await engine();
  server = await startServer({ dockerHost: host.dockerHost });
}, 300_000);

afterAll(async () => await server[Symbol.asyncDispose]());

const TIMEOUT_MS = 60_000;

/** Shows whether the terminal makes line ends (`opost`), has lines edited (`icanon`) and shows what is typed (`echo`). */
const MODES = "stty -a | grep -o -e '-\\?icanon' -e '-\\?echo ' -e '-\\?opost'";

test(
  "run -it gives the command this terminal: its size, its changes, Ctrl-C, and its end",
  async () => {
    await using terminal = new Terminal(server.socketPath);
    terminal.type(`${MODES}\r`);
    await terminal.shows(/\r\nopost\r\nicanon\r\necho/);
    // What follows the command is typed before it runs: while it does, every key is its own.
    terminal.type(`${PROGRAM.join(" ")} run -it ${host.image} sh; echo code $?; ${MODES}\r`);
    await terminal.shows(/# /);
    terminal.type("stty size\r");
    await terminal.shows(/\n30 90\r/);
    terminal.resize(120, 40);
    terminal.type("while [ \"$(stty size)\" != '40 120' ]; do sleep 0.1; done; echo re''sized\r");
    await terminal.shows(/resized\r/);
    // It is the command itself that says that it has begun: a Ctrl-C that comes while the shell is about to start one may
    // pass by both of them.
    terminal.type("sh -c 'echo be\"\"gun; exec sleep 600'; echo un''reached\r");
    await terminal.shows(/begun\r/);
    terminal.type("\u0003");
    terminal.type("echo go''es on\r");
    expect(await terminal.shows(/goes on\r/)).not.toContain("unreached");
    terminal.type("exit 9\r");
    // The terminal is as it was: lines are edited, and keys shown.
    await terminal.shows(/\ncode 9\r\nopost\r\nicanon\r\necho/);
  },
  TIMEOUT_MS,
);

test(
  "container exec -t puts the terminal back when the container is removed under it",
  async () => {
    const { orchestrator } = server.client;
    const { sessionId } = await orchestrator.createSession({});
    const config = { image: host.image, command: ["sleep", "600"] };
    const { containerId } = await orchestrator.createContainer({ sessionId, config });
    await using terminal = new Terminal(server.socketPath);
    terminal.type(`${PROGRAM.join(" ")} container exec -it ${containerId} sh; echo code $?; ${MODES}\r`);
    await terminal.shows(/# /);
    await orchestrator.removeContainer({ containerId, force: true });
    await terminal.shows(/code 1\d\d\r\nopost\r\nicanon\r\necho/);
    await orchestrator.closeSession({ sessionId });
  },
  TIMEOUT_MS,
);

/** A container that is removed with its session. */
async function container(): Promise<AsyncDisposable & { readonly containerId: string }> {
  const { orchestrator } = server.client;
  const { sessionId } = await orchestrator.createSession({});
  const config = { image: host.image, command: ["sleep", "600"] };
  const { containerId } = await orchestrator.createContainer({ sessionId, config }, { timeoutMs: 30_000 });
  return {
    containerId,
    [Symbol.asyncDispose]: async () =>
      void (await orchestrator.closeSession({ sessionId }, { timeoutMs: 30_000 })),
  };
}

const CTRL_P_CTRL_Q = "\u0010\u0011";

test(
  "container exec -it is left by Ctrl-P Ctrl-Q and joined by exec attach, with the terminal's size then",
  async () => {
    await using place = await container();
    await using terminal = new Terminal(server.socketPath);
    terminal.type(
      `${PROGRAM.join(" ")} container exec -it ${place.containerId} sh; echo code $?; ${MODES}\r`,
    );
    await terminal.shows(/# /);
    terminal.type("word=ke''pt; stty size\r");
    await terminal.shows(/\n30 90\r/);
    terminal.type(CTRL_P_CTRL_Q);
    const told = await terminal.shows(
      /Left the command, which goes on; to join it again:\r\nbaaaht exec attach [\da-f-]{36}\r/,
    );
    await terminal.shows(/code 0\r\nopost\r\nicanon\r\necho/);
    const execId = /[\da-f-]{36}/.exec(told)?.[0] ?? "";
    const { exec } = await server.client.orchestrator.getExec({ execId });
    expect(exec).toMatchObject({
      state: ExecState.RUNNING,
      attached: 0,
      tty: true,
      detachOnDisconnect: true,
    });
    terminal.resize(120, 40);
    terminal.type(`${PROGRAM.join(" ")} exec attach ${execId.slice(0, 30)}; echo code $?; ${MODES}\r`);
    // What it has shown before is shown again.
    await terminal.shows(/\n30 90\r/);
    await terminal.shows(/# /);
    terminal.type("while [ \"$(stty size)\" != '40 120' ]; do sleep 0.1; done; echo $word\r");
    await terminal.shows(/\nkept\r/);
    terminal.type("exit 7\r");
    await terminal.shows(/code 7\r\nopost\r\nicanon\r\necho/);
  },
  TIMEOUT_MS,
);

test(
  "container exec -it shows line feeds as the command has written them",
  async () => {
    await using place = await container();
    await using terminal = new Terminal(server.socketPath);
    const writes = String.raw`printf "one\ntw""o\n"; stty -onlcr; printf "three\nfou""r\n"`;
    terminal.type(
      `${PROGRAM.join(" ")} container exec -it ${place.containerId} sh -c '${writes}'; echo code $?; ${MODES}\r`,
    );
    await terminal.shows(/one\r\ntwo\r\nthree\nfour\n/);
    await terminal.shows(/code 0\r\nopost\r\nicanon\r\necho/);
  },
  TIMEOUT_MS,
);

test(
  "container logs -f and stats leave the line of their Ctrl-C, and event watch says on one of its own where to go on",
  async () => {
    await using place = await container();
    await using terminal = new Terminal(server.socketPath);
    terminal.type(
      `${PROGRAM.join(" ")} event watch --container ${place.containerId} --from-start; echo code $?\r`,
    );
    await terminal.shows(/container-started.*\r\n/);
    terminal.type("\u0003");
    await terminal.shows(/\^C\r\ngo on with --after \S+\r\ncode 130\r/);
    terminal.type(`${PROGRAM.join(" ")} container stats ${place.containerId}; echo code $?\r`);
    await terminal.shows(/MEMORY[\s\S]*MiB.*\r\n/);
    terminal.type("\u0003");
    const left = await terminal.shows(/\^C[\s\S]*\ncode 130\r/);
    // What was measured last stays.
    expect(left).not.toMatch(/PROCESSES\S*\s+code/);
    const { orchestrator } = server.client;
    const { sessionId } = await orchestrator.createSession({});
    const config = { image: host.image, command: ["sh", "-c", "echo begun; sleep 600"] };
    const { containerId } = await orchestrator.createContainer({ sessionId, config });
    terminal.type(`${PROGRAM.join(" ")} container logs -f ${containerId}; echo code $?\r`);
    await terminal.shows(/begun\r/);
    terminal.type("\u0003");
    await terminal.shows(/\^C\r\ncode 130\r/);
    await orchestrator.closeSession({ sessionId }, { timeoutMs: 30_000 });
  },
  TIMEOUT_MS,
);

test(
  "exec attach shows once more what a command has shown, without what the terminal would answer",
  async () => {
    await using place = await container();
    await using terminal = new Terminal(server.socketPath);
    const asks = String.raw`printf "\033[6n\033[1mone\033[m\033[c\n"; read _; printf "\033[6ntwo\n"`;
    terminal.type(
      `${PROGRAM.join(" ")} container exec -it ${place.containerId} sh -c '${asks}'; echo code $?\r`,
    );
    expect(await terminal.shows(/mone[^n]*\n/)).toContain("\u001b[c");
    terminal.type(CTRL_P_CTRL_Q);
    const told = await terminal.shows(/baaaht exec attach [\da-f-]{36}\r/);
    await terminal.shows(/code 0/);
    terminal.type(`clear; ${PROGRAM.join(" ")} ${told.trim().replace("baaaht ", "")}; echo code $?\r`);
    expect((await terminal.shows(/mone[^n]*\n/)).replaceAll("\r", "")).toBe("mone\u001b[m\n");
    terminal.type("\r");
    // What is new is asked by the command, and for it to read.
    expect(await terminal.shows(/[\s\S]*two\r+\n/)).toContain("\u001b[6ntwo");
    await terminal.shows(/code 0/);
  },
  TIMEOUT_MS,
);

test(
  "container exec -it takes other detach keys, and passes Ctrl-P Ctrl-Q on then",
  async () => {
    await using place = await container();
    await using terminal = new Terminal(server.socketPath);
    const command = `container exec -it --detach-keys ctrl-a,d ${place.containerId}`;
    terminal.type(
      `${PROGRAM.join(" ")} ${command} sh -c 'stty raw -echo; echo re""ady; dd bs=1 count=4 2>/dev/null | od -c'; echo code $?\r`,
    );
    await terminal.shows(/ready/);
    terminal.type(`${CTRL_P_CTRL_Q}\u0001x`);
    await terminal.shows(/020 021 001 +x/);
    await terminal.shows(/code 0/);
    terminal.type(`${PROGRAM.join(" ")} ${command} sh -c 'echo re""ady; cat'; echo code $?; ${MODES}\r`);
    await terminal.shows(/ready\r/);
    terminal.type("one line\r");
    await terminal.shows(/one line\r+\none line\r/);
    terminal.type("\u0001d");
    await terminal.shows(/Left the command/);
    await terminal.shows(/code 0\r\nopost\r\nicanon\r\necho/);
  },
  TIMEOUT_MS,
);

test.each(["TERM", "HUP"])(
  "container exec -it puts the terminal back, and leaves no command, by SIG%s",
  async (name) => {
    await using place = await container();
    await using terminal = new Terminal(server.socketPath);
    // A shell on a terminal does not end by SIGTERM.
    terminal.type(
      `${PROGRAM.join(" ")} container exec -it ${place.containerId} sh; echo code $?; ${MODES}\r`,
    );
    await terminal.shows(/# /);
    terminal.type("trap '' HUP; echo se''t\r");
    await terminal.shows(/\nset\r/);
    const { execs } = await server.client.orchestrator.listExecs({
      filter: { containerId: place.containerId },
    });
    expect(execs).toHaveLength(1);
    process.kill(pidOf(place.containerId), `SIG${name}`);
    await terminal.shows(/code 1\d\d\r\nopost\r\nicanon\r\necho/);
    const request = { filter: { containerId: place.containerId, state: ExecState.RUNNING } };
    while ((await server.client.orchestrator.listExecs(request)).totalCount > 0) await Bun.sleep(20); // an end tells only the log
  },
  TIMEOUT_MS,
);

test(
  "container exec -it puts the terminal back when the server is lost",
  async () => {
    await using own = await startServer({ dockerHost: host.dockerHost });
    const { sessionId } = await own.client.orchestrator.createSession({});
    await using _cleared = cleared(host.dockerHost, () => sessionId);
    const config = { image: host.image, command: ["sleep", "600"] };
    const { containerId } = await own.client.orchestrator.createContainer(
      { sessionId, config },
      { timeoutMs: 30_000 },
    );
    await using terminal = new Terminal(server.socketPath);
    const command = `container exec --grpc-socket-path ${own.socketPath} -it ${containerId} sh`;
    terminal.type(`${PROGRAM.join(" ")} ${command}; echo code $?; ${MODES}\r`);
    await terminal.shows(/# /);
    await own.kill();
    await terminal.shows(/code 125\r\nopost\r\nicanon\r\necho/);
  },
  TIMEOUT_MS,
);

test(
  "run -it is left by Ctrl-P Ctrl-Q, and keeps session and container",
  async () => {
    await using terminal = new Terminal(server.socketPath);
    terminal.type(`${PROGRAM.join(" ")} run -n left -it ${host.image} sh; echo code $?\r`);
    await terminal.shows(/# /);
    terminal.type(CTRL_P_CTRL_Q);
    await terminal.shows(/Left the command/);
    await terminal.shows(/Kept session/);
    await terminal.shows(/code 0/);
    const { orchestrator } = server.client;
    const { sessions } = await orchestrator.listSessions({ filter: { state: 2 } });
    const session = sessions.find(({ metadata }) => metadata?.name === "left");
    const request = { filter: { sessionId: session?.id ?? "", state: ExecState.RUNNING } };
    expect((await orchestrator.listExecs(request)).totalCount).toBe(1);
    await orchestrator.closeSession({ sessionId: session?.id ?? "" }, { timeoutMs: 30_000 });
  },
  TIMEOUT_MS,
);

/** The command line's process that has these words. */
function pidOf(words: string): number {
  const found = processes().find((pid) => {
    const line = readProcess(pid, "cmdline");
    return line.startsWith(PROGRAM.join("\0")) && line.includes(words);
  });
  if (found === undefined) throw new Error(`no process has ${words}`);
  return found;
}

test(
  "run -t without a terminal says so, and leaves nothing behind",
  async () => {
    const env = { GRPC_SOCKET_PATH: server.socketPath };
    const { exitCode, stderr } = await baaaht(["run", "--name", "no-tty", "-t", host.image, "sh"], { env });
    expect(stderr).toContain("Cannot give the command a terminal: stdin is none");
    expect(exitCode).toBe(125);
    const { sessions } = await server.client.orchestrator.listSessions({ filter: { state: 2 } });
    expect(sessions.map(({ metadata }) => metadata?.name)).not.toContain("no-tty");
  },
  TIMEOUT_MS,
);
