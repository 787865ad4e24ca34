import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connectDocker } from "../../../src/runtime/docker/docker.ts";
import type { ExecSpec, Runtime, RuntimeId } from "../../../src/runtime/runtime.ts";
import { all, finish, readUntil, SET_UP_MS, Subject, soon, text } from "../../contract/runtime-subject.ts";
import { engine } from "../../engine.ts";
import { initFile, untilInitRuns } from "../../init.ts";

let plainRuntime: Runtime;
let quick: RuntimeId;
const hardened = { dropCapabilities: ["ALL"], noNewPrivileges: true, init: false } as const;
const limits = {
  nanoCpu: 1_000_000_000n,
  memoryBytes: 256n << 20n,
  memorySwapBytes: 256n << 20n,
  pids: 100n,
};
const forever = "while :; do sleep 0.05; done";

const subject = new Subject(async () => {
  const { dockerHost, image } = await engine();
  plainRuntime = connectDocker({ dockerHost });
  return { runtime: connectDocker({ dockerHost, initFile: initFile() }), image };
});

beforeAll(async () => {
  const spec = subject.script(forever, { ...hardened, limits, env: { OUTER: "x" }, workingDir: "/tmp" });
  quick = await subject.started(spec);
  await untilInitRuns(subject.runtime, quick);
}, SET_UP_MS);

afterAll(() => plainRuntime[Symbol.asyncDispose]());

describe("a command that the init runs is what the engine's own is", () => {
  const looks: Readonly<Record<string, string>> = {
    environment: "env | grep -v '^_=' | sort",
    "user and groups": "id; pwd",
    "open files":
      "for fd in 0 1 2 3 4 5 6 7 8 9; do for is in p c S f d; do [ -$is /proc/$$/fd/$fd ] && echo $fd $is; done; done; true",
    "signals, capabilities, filters":
      "grep -E '^(Sig(Blk|Ign|Cgt)|Cap|NoNewPrivs|Seccomp|Umask|Groups)' /proc/self/status",
    limits:
      "ulimit -a; cat /proc/self/oom_score_adj; cat /proc/self/cgroup; cat /proc/self/attr/current 2>&1",
    "session and group":
      "set -- $(cat /proc/$$/stat); [ $5 = $$ ] && [ $6 = $$ ] && echo leads both; echo tty $7",
    "name spaces": "for ns in mnt pid net ipc uts user cgroup; do readlink /proc/self/ns/$ns; done",
  };

  for (const [what, script] of Object.entries(looks)) {
    test(`in its ${what}`, async () => {
      const command = ["sh", "-c", script];
      const over: Partial<ExecSpec> = { env: { INNER: "y=z", OUTER: "again" } };
      const ours = await subject.run(quick, command, over);
      const plain = await onPlain(command, over);
      expect(ours.stdout).not.toBe("");
      expect(ours).toEqual(plain);
    });
  }

  test("with a terminal", async () => {
    const size = { columns: 91, rows: 17 };
    const command = ["sh", "-c", "stty -g; tty; env | grep TERM; echo $OUTER; ls /proc/self/fd | wc -l"];
    for (const over of [
      { tty: true, size },
      { tty: true, stdin: true, size, env: { TERM: "dumb" } },
    ]) {
      const ours = await subject.run(quick, command, over);
      const plain = await onPlain(command, over);
      expect([ours.stderr, ours.outcome]).toEqual([plain.stderr, plain.outcome]);
      expect(ours.stdout.replace(/pts\/\d+/, "pts")).toBe(plain.stdout.replace(/pts\/\d+/, "pts"));
      // From the first moment, which the engine's own way does not promise.
      expect((await subject.run(quick, ["stty", "size"], over)).stdout).toBe("17 91\r\n");
    }
  });

  test("in what is said of a command or a folder that is not there", async () => {
    for (const over of [
      { command: ["no-such"] },
      { command: ["/etc/passwd"] },
      { command: ["true"], workingDir: "/nowhere" },
    ]) {
      const ours = await subject.run(quick, over.command, over);
      const plain = await onPlain(over.command, over);
      expect(ours.stderr).not.toBe("");
      expect(ours).toEqual(plain);
    }
  });

  test("in how long a child that it has left is listened to", async () => {
    for (const left of [
      "(sleep 0.3; echo late) & echo early",
      "(sleep 300; echo never) & echo early",
      "yes & echo early",
    ]) {
      const command = ["sh", "-c", left];
      const [ours, plain] = [await subject.run(quick, command), await onPlain(command)];
      const heard = ({ stdout, outcome }: typeof ours) => [
        /early/.test(stdout),
        /late/.test(stdout),
        outcome,
      ];
      expect(heard(ours)).toEqual(heard(plain));
      await subject.run(quick, ["sh", "-c", "killall yes sleep; exit 0"], { user: "root" });
    }
  }, 60_000);

  test("in how it is ended by a signal of its own", async () => {
    for (const name of ["KILL", "TERM", "SEGV"]) {
      const command = ["sh", "-c", `kill -${name} $$`];
      expect(await subject.run(quick, command)).toEqual(await onPlain(command));
    }
  });
});

test("exec() of more commands at once than an init takes runs all of them", async () => {
  const spec = subject.script(forever, { limits: { ...limits, pids: 2_000n } });
  const id = await subject.started(spec);
  await untilInitRuns(subject.runtime, id);
  const execs = await Promise.all(
    Array.from({ length: 140 }, () => subject.exec(id, ["cat"], { stdin: true })),
  );
  const ways = execs.map((exec) => (exec.id.startsWith("init-") ? "init" : "engine"));
  expect([ways.filter((way) => way === "init").length, ways.length]).toEqual([128, 140]);
  for (const [index, exec] of execs.entries()) {
    await exec.write(Buffer.from(`${index}\n`), soon());
    await exec.closeStdin();
    expect(await finish(exec)).toEqual({
      stdout: `${index}\n`,
      stderr: "",
      outcome: { kind: "exited", code: 0 },
    });
  }
}, 120_000);

test("a command that is not read holds up no other", async () => {
  await using flood = await subject.exec(quick, ["yes"]);
  const output = flood.output[Symbol.asyncIterator]();
  await output.next();
  for (let round = 0; round < 5; round++) {
    expect(await subject.run(quick, ["seq", "1", "20000"])).toMatchObject({
      outcome: { kind: "exited", code: 0 },
    });
  }
  await flood.signal("KILL", soon());
  let bytes = 0;
  for (let next = await output.next(); !next.done; next = await output.next())
    bytes += next.value.data.length;
  // What was granted and what was in the pipe, and not what it would have written.
  expect(bytes).toBeLessThanOrEqual(1.25 * 1024 * 1024);
  expect(await flood.outcome(soon())).toEqual({ kind: "exited", code: 137 });
});

test("a command that does not read its input holds up no other", async () => {
  await using deaf = await subject.exec(quick, ["sleep", "60"], { stdin: true });
  const giveUp = new AbortController();
  const writing = deaf.write(Buffer.alloc(1024 * 1024), giveUp.signal).then(undefined, String);
  expect((await subject.run(quick, ["cat", "/etc/hostname"])).outcome).toEqual({ kind: "exited", code: 0 });
  giveUp.abort();
  expect(await writing).toMatch(/cancelled/);
});

test("the init can't be looked into, written to or replaced by what runs beside it", async () => {
  const pid = (await subject.run(quick, ["sh", "-c", "grep -lx init /proc/[0-9]*/comm"])).stdout;
  const number = /\/proc\/(\d+)\//.exec(pid)?.[1];
  const looks = `head -c1 /proc/${number}/mem; head -c1 /proc/${number}/environ; cat /proc/${number}/fd/0; cat < /dev/null > /.baaaht/init; rm -f /.baaaht/init; echo done`;
  const { stdout, stderr } = await subject.run(quick, ["sh", "-c", looks]);
  expect(stdout).toBe("done\n");
  expect(
    stderr.split("\n").filter((line) => /denied|read-only|Read-only|busy|can't open/i.test(line)).length,
  ).toBeGreaterThanOrEqual(4);
});

test("commands of an init that was killed end as unknown, and later ones are run by the engine and by a new init", async () => {
  const id = await subject.started(subject.script(forever));
  await untilInitRuns(subject.runtime, id);
  await using under = await subject.exec(id, ["sh", "-c", `echo on; ${forever}`]);
  const output = under.output[Symbol.asyncIterator]();
  await readUntil(output, "on\n");
  const kill = "for p in /proc/[0-9]*; do grep -qx init $p/comm && kill -9 $(basename $p); done; exit 0";
  await subject.run(id, ["sh", "-c", kill], { user: "root" });
  expect((await output.next()).done).toBe(true);
  expect(await under.outcome(soon())).toEqual({
    kind: "unknown",
    reason: expect.stringMatching(/connection into the container was lost/),
  });
  expect((await subject.run(id, ["echo", "again"])).stdout).toBe("again\n");
  await untilInitRuns(subject.runtime, id);
}, 60_000);

test("an init ends with the server that it was for, and what it ran goes on", async () => {
  const { dockerHost } = await engine();
  const other = connectDocker({ dockerHost, initFile: initFile() });
  const id = await subject.started(subject.script(forever));
  await untilInitRuns(other, id);
  const spec = { env: {}, workingDir: "", user: "", tty: false, stdin: false };
  const exec = await other.exec(id, { ...spec, command: ["sleep", "4321"] }, soon());
  expect(exec.id).toStartWith("init-");
  await other[Symbol.asyncDispose]();
  const look =
    "while grep -qx init /proc/[0-9]*/comm; do sleep 0.05; done; grep -l '[4]321' /proc/[0-9]*/cmdline | wc -l";
  const { stdout } = await onPlainIn(id, ["sh", "-c", look]);
  expect(stdout).toBe("1\n");
}, 60_000);

test("create() does without the init where the engine can't see it", async () => {
  const { dockerHost } = await engine();
  await using blind = connectDocker({ dockerHost, initFile: "/no/such/folder/init" });
  const id = await blind.create(subject.script("true"), soon());
  await blind.start(id, soon());
  expect((await subject.facts(id)).error).toBeUndefined();
});

async function onPlain(command: readonly string[], over: Partial<ExecSpec> = {}) {
  return await onPlainIn(quick, command, over);
}

async function onPlainIn(id: RuntimeId, command: readonly string[], over: Partial<ExecSpec> = {}) {
  const spec = { env: {}, workingDir: "", user: "", tty: false, stdin: false, ...over, command };
  await using exec = await plainRuntime.exec(id, spec, soon());
  const chunks = await all(exec.output);
  return {
    stdout: text(chunks.filter(({ stream }) => stream === "stdout")),
    stderr: text(chunks.filter(({ stream }) => stream === "stderr")),
    outcome: await exec.outcome(soon()),
  };
}
