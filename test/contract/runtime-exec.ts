import { afterAll, beforeAll, expect, test } from "bun:test";
import { Failure } from "../../src/failure.ts";
import type { RuntimeId } from "../../src/runtime/runtime.ts";
import { all, bytes, failure, finish, readUntil, SET_UP_MS, type Subject, soon } from "./runtime-subject.ts";

/** Of a container. */
const IDLE = "sleep 100000";
/** Of a command: ends soon behind its shell. */
const FOREVER = "while :; do sleep 0.05; done";

export function execContract(subject: Subject): void {
  let id: RuntimeId;
  beforeAll(async () => {
    id = await subject.startedForCommands(subject.script(IDLE, { env: { OUTER: "from outside" } }));
  }, SET_UP_MS);
  afterAll(() => subject.runtime.remove(id, soon()), SET_UP_MS);
  running(subject, () => id);
  stdin(subject, () => id);
  terminals(subject, () => id);
  ending(subject, () => id);
}

function running(subject: Subject, container: () => RuntimeId): void {
  test("exec() gives output apart and the code", async () => {
    const done = await subject.run(container(), ["sh", "-c", "echo out; echo err >&2; exit 42"]);
    expect(done).toEqual({ stdout: "out\n", stderr: "err\n", outcome: { kind: "exited", code: 42 } });
  });

  test("exec() takes command, environment, working directory and user as they are", async () => {
    const odd = "ß = 'x' \"y\" $HOME 日本\nnext";
    const command = ["sh", "-c", 'echo "$ODD|$OUTER|$1"; pwd; id -u', "sh", odd];
    const done = await subject.run(container(), command, {
      env: { ODD: odd },
      workingDir: "/tmp",
      user: "app",
    });
    expect(done).toEqual({
      stdout: `${odd}|from outside|${odd}\n/tmp\n1000\n`,
      stderr: "",
      outcome: { kind: "exited", code: 0 },
    });
  });

  test.each([
    ["that is not there", "no-such-command", 127],
    ["that can't be run", "/etc/passwd", 126],
  ] as const)("exec() of a command %s says so on stderr and ends as in a shell", async (_, program, code) => {
    const { stdout, stderr, outcome } = await subject.run(container(), [program]);
    expect([stdout, stderr]).toEqual(["", expect.stringContaining(`exec: "${program}": `)]);
    expect(outcome).toEqual({ kind: "exited", code });
  });

  test("exec() of a command that is not there says so on a terminal too", async () => {
    const { stdout, outcome } = await subject.run(container(), ["no-such-command"], { tty: true });
    expect(stdout).toStartWith('exec: "no-such-command": ');
    expect(outcome).toEqual({ kind: "exited", code: 127 });
  });

  test("exec() in a container that does not run is FAILED_PRECONDITION", async () => {
    const ended = await subject.ran(subject.script("true"));
    expect((await failure(subject.exec(ended, ["true"]))).kind).toBe("failed_precondition");
  });

  test("exec() begins nothing before what it is to come after", async () => {
    const before = Promise.withResolvers<void>();
    const starting = subject.exec(container(), ["touch", "/tmp/after"], { after: before.promise });
    await subject.run(container(), ["true"]);
    expect(await subject.runtime.stat(container(), "/tmp/after", soon())).toBe(undefined);
    before.resolve();
    await using exec = await starting;
    expect(await finish(exec)).toMatchObject({ outcome: { kind: "exited", code: 0 } });
    expect(await subject.runtime.stat(container(), "/tmp/after", soon())).toMatchObject({ kind: "file" });
  });

  test("exec() fails with what it was to come after, and begins nothing", async () => {
    const before = Promise.withResolvers<void>();
    before.promise.catch(() => {}); // whether exec() waits for it already or not
    const starting = failure(subject.exec(container(), ["touch", "/tmp/never"], { after: before.promise }));
    const why = new Failure("resource_exhausted", "Cannot save the change: the disk is full");
    before.reject(why);
    expect(await starting).toBe(why);
    await subject.run(container(), ["true"]);
    expect(await subject.runtime.stat(container(), "/tmp/never", soon())).toBe(undefined);
  });

  test("output keeps order over thousands of lines", async () => {
    const { stdout } = await subject.run(container(), ["seq", "1", "20000"]);
    expect(stdout).toBe(Array.from({ length: 20_000 }, (_, n) => `${n + 1}\n`).join(""));
  });
}

function stdin(subject: Subject, container: () => RuntimeId): void {
  test("closeStdin() is end-of-file for the process, whose output still comes", async () => {
    await using exec = await subject.exec(container(), ["sh", "-c", "cat; echo end"], { stdin: true });
    const output = exec.output[Symbol.asyncIterator]();
    await exec.write(Buffer.from("first\n"), soon());
    expect(await readUntil(output, "first\n")).toBe("first\n");
    await exec.write(Buffer.from("second\n"), soon());
    await exec.closeStdin();
    expect(await readUntil(output, "end\n")).toBe("second\nend\n");
    expect((await output.next()).done).toBe(true);
    expect(await exec.outcome(soon())).toEqual({ kind: "exited", code: 0 });
  });

  test("write() and output carry 10 MB each way, byte for byte", async () => {
    const sent = Buffer.alloc(10 * 1024 * 1024, "0123456789abcdef\u0000\u00ff\n");
    await using exec = await subject.exec(container(), ["cat"], { stdin: true });
    const writing = (async () => {
      for (let at = 0; at < sent.length; at += 100_000)
        await exec.write(sent.subarray(at, at + 100_000), soon());
      await exec.closeStdin();
    })();
    const received = bytes(await all(exec.output));
    await writing;
    expect(received.equals(sent)).toBe(true);
  }, 30_000);

  test("write() waits while the process does not read, until its signal aborts", async () => {
    await using exec = await subject.exec(container(), ["sh", "-c", FOREVER], { stdin: true });
    const aborting = new AbortController();
    const block = Buffer.alloc(256 * 1024);
    const writing = failure(
      (async () => {
        for (let blocks = 0; blocks < 200; blocks++) {
          const waiting = exec.write(block, aborting.signal);
          // What is taken is taken at once; the first write that waits longer is the one that this is about.
          if ((await Promise.race([waiting.then(() => "taken"), Bun.sleep(500)])) === undefined)
            aborting.abort();
          await waiting;
        }
      })(),
    );
    expect((await writing).kind).toBe("cancelled");
  }, 30_000);

  test("write() and closeStdin() after the process's end are no errors", async () => {
    await using exec = await subject.exec(container(), ["true"], { stdin: true });
    expect(await finish(exec)).toMatchObject({ outcome: { kind: "exited", code: 0 } });
    await exec.write(Buffer.from("late"), soon());
    await exec.closeStdin();
    await exec.closeStdin();
  });

  test("write() without stdin is FAILED_PRECONDITION", async () => {
    await using exec = await subject.exec(container(), ["true"]);
    expect((await failure(exec.write(Buffer.from("x"), soon()))).kind).toBe("failed_precondition");
  });
}

function terminals(subject: Subject, container: () => RuntimeId): void {
  test("exec() with a terminal has its size, and all output is stdout", async () => {
    const size = { columns: 101, rows: 37 };
    const command = ["sh", "-c", "echo err >&2; while read word; do stty size; done"];
    await using exec = await subject.exec(container(), command, { tty: true, stdin: true, size });
    const output = exec.output[Symbol.asyncIterator]();
    expect(await readUntil(output, "err\r\n")).toContain("err\r\n");
    await exec.write(Buffer.from("a\n"), soon());
    await readUntil(output, "37 101\r\n");
    await exec.resize({ columns: 55, rows: 11 }, soon());
    await exec.write(Buffer.from("b\n"), soon());
    await readUntil(output, "11 55\r\n");
  });

  test("resize() after the process's end is FAILED_PRECONDITION", async () => {
    await using exec = await subject.exec(container(), ["true"], { tty: true });
    await finish(exec);
    const refused = await failure(exec.resize({ columns: 1, rows: 1 }, soon()));
    expect(["failed_precondition", "not_found"]).toContain(refused.kind);
  });
}

function ending(subject: Subject, container: () => RuntimeId): void {
  test("signal() reaches the process, by name with and without SIG and by number", async () => {
    for (const name of ["TERM", "SIGTERM", "15"]) {
      const command = ["sh", "-c", `trap 'echo caught; exit 7' TERM; echo ready; ${FOREVER}`];
      await using exec = await subject.exec(container(), command);
      const output = exec.output[Symbol.asyncIterator]();
      await readUntil(output, "ready\n");
      await exec.signal(name, soon());
      await readUntil(output, "caught\n");
      // The signal reaches the shell's child too, of whose end the shell may have a word to say on stderr.
      for (let next = await output.next(); !next.done; next = await output.next()) {
        expect(next.value.stream).toBe("stderr");
      }
      expect(await exec.outcome(soon())).toEqual({ kind: "exited", code: 7 });
    }
  });

  test("signal() that is not caught ends the process with 128 and its number", async () => {
    await using exec = await subject.exec(container(), ["sh", "-c", `echo ready; ${FOREVER}`]);
    const output = exec.output[Symbol.asyncIterator]();
    await readUntil(output, "ready\n");
    await exec.signal("KILL", soon());
    expect((await output.next()).done).toBe(true);
    expect(await exec.outcome(soon())).toEqual({ kind: "exited", code: 137 });
  });

  test("signal() of a name that is none is INVALID_ARGUMENT, after the end FAILED_PRECONDITION", async () => {
    await using exec = await subject.exec(container(), ["cat"], { stdin: true });
    expect((await failure(exec.signal("NOPE", soon()))).kind).toBe("invalid_argument");
    await exec.closeStdin();
    await finish(exec);
    expect((await failure(exec.signal("TERM", soon()))).kind).toBe("failed_precondition");
  });

  test("outcome() is running when the reader left early, and the process goes on", async () => {
    const exec = await subject.exec(container(), ["sh", "-c", `echo first; ${FOREVER}`]);
    for await (const _ of exec.output) break;
    expect(await exec.outcome(soon())).toEqual({ kind: "running" });
  });

  test("output ends with CANCELLED when exec's signal aborts, and the process goes on", async () => {
    const aborting = new AbortController();
    await using exec = await subject.exec(container(), ["sh", "-c", FOREVER], {}, aborting.signal);
    const output = failure(all(exec.output));
    aborting.abort();
    expect((await output).kind).toBe("cancelled");
    expect(await exec.outcome(soon())).toEqual({ kind: "running" });
  });

  test("output ends when the container is killed under it", async () => {
    const other = await subject.startedForCommands(subject.script(IDLE));
    await using exec = await subject.exec(other, ["sh", "-c", `echo first; ${FOREVER}`]);
    for await (const _ of exec.output) await subject.runtime.stop(other, { graceMs: 0 }, soon());
    expect(["exited", "unknown"]).toContain((await exec.outcome(soon())).kind);
  });

  test("outcome() is unknown with the reason when the engine has forgotten the exec", async () => {
    const other = await subject.startedForCommands(subject.script(IDLE));
    await using exec = await subject.exec(other, ["true"]);
    await all(exec.output);
    await subject.runtime.remove(other, soon());
    const outcome = await exec.outcome(soon());
    // Who knows it still may say it; nobody may make it up.
    if (outcome.kind === "exited") expect(outcome.code).toBe(0);
    else expect(outcome).toEqual({ kind: "unknown", reason: expect.stringMatching(/container/) });
  });
}
