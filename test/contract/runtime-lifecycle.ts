import { expect, test } from "bun:test";
import type { RuntimeId } from "../../src/runtime/runtime.ts";
import { failure, type Subject, soon } from "./runtime-subject.ts";

// as: an id of the right form that no engine has
const NOBODY = "0".repeat(64) as RuntimeId;
const FOREVER = "sleep 100000";
/** For scripts with traps, which run when a command has ended. */
const HEEDFUL = "while :; do sleep 0.05; done";

export function lifecycleContract(subject: Subject): void {
  creating(subject);
  stopping(subject);
  removing(subject);
  listing(subject);
  aborting(subject);
}

function creating(subject: Subject): void {
  test("create() makes a container that is not started, with its facts", async () => {
    const before = Date.now();
    const spec = subject.script("true", { labels: { "a.b/c": "ü = 1" } });
    const facts = await subject.facts(await subject.created(spec));
    expect(facts).toMatchObject({
      name: spec.name,
      image: spec.image,
      state: "created",
      health: "none",
      oomKilled: false,
    });
    expect(facts.labels).toMatchObject(spec.labels);
    expect(Math.abs(facts.createdAt - before)).toBeLessThan(60_000);
    expect([facts.startedAt, facts.exitedAt, facts.exitCode, facts.error]).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
  });

  test("create() with a name that is taken is ALREADY_EXISTS", async () => {
    const spec = subject.script("true");
    await subject.created(spec);
    expect((await failure(subject.created(spec))).kind).toBe("already_exists");
  });

  test("create() with a name that is none is INVALID_ARGUMENT", async () => {
    expect((await failure(subject.created(subject.script("true", { name: "no name" })))).kind).toBe(
      "invalid_argument",
    );
  });

  test("create() passes environment, working directory, user and arguments as they are", async () => {
    const odd = "ß = 'x' \"y\" $HOME 日本\nnext";
    const id = await subject.ran(
      subject.script('echo "$ODD|$EMPTY|$0|$1"; pwd; id -u', {
        args: ['echo "$ODD|$EMPTY|$0|$1"; pwd; id -u', odd, ""],
        env: { ODD: odd, EMPTY: "" },
        workingDir: "/tmp",
        user: "app",
      }),
    );
    expect(await subject.text(id)).toBe(`${odd}||${odd}|\n/tmp\n1000\n`);
  });

  test("start() runs the command; its code and times are facts when it has ended", async () => {
    // Not at once: an engine may note the start of a command after it has ended.
    const facts = await subject.facts(await subject.ran(subject.script("sleep 0.1; exit 3")));
    expect(facts).toMatchObject({ state: "exited", exitCode: 3 });
    expect(facts.startedAt ?? 0).toBeGreaterThanOrEqual(facts.createdAt);
    expect(facts.exitedAt ?? 0).toBeGreaterThanOrEqual(facts.startedAt ?? 0);
  });

  test("start() of a running container is no error", async () => {
    const id = await subject.started(subject.script(FOREVER));
    await subject.runtime.start(id, soon());
    const facts = await subject.facts(id);
    expect([facts.state, facts.exitCode, facts.exitedAt]).toEqual(["running", undefined, undefined]);
    await subject.runtime.remove(id, soon());
  });

  test("start() of an ended container runs it again", async () => {
    const id = await subject.ran(subject.script("echo once"));
    await subject.runtime.start(id, soon());
    expect(await subject.text(id, { follow: true })).toBe("once\nonce\n");
  });

  test("start() of a command that is not there is FAILED_PRECONDITION and says so", async () => {
    const id = await subject.created(subject.script("", { command: ["no-such-command"], args: [] }));
    const refused = await failure(subject.runtime.start(id, soon()));
    expect(refused.kind).toBe("failed_precondition");
    expect(refused.message).toStartWith(
      `Cannot start container "${id.slice(0, 12)}": exec: "no-such-command": `,
    );
    const { keepsStartError } = await subject.capabilities();
    const kept = keepsStartError ? expect.stringContaining("no-such-command") : undefined;
    expect((await subject.facts(id)).error).toEqual(kept);
  });

  test("start(), stop(), kill(), pause() and exec() of an unknown container are NOT_FOUND", async () => {
    const { runtime } = subject;
    const calls = [
      runtime.start(NOBODY, soon()),
      runtime.stop(NOBODY, { graceMs: 1_000 }, soon()),
      runtime.kill(NOBODY, { signalName: "TERM" }, soon()),
      runtime.pause(NOBODY, soon()),
      runtime.resume(NOBODY, soon()),
      subject.exec(NOBODY, ["true"]),
      subject.text(NOBODY),
    ];
    expect(await kinds(calls)).toEqual(new Set(["not_found"]));
    expect(await runtime.inspect(NOBODY, soon())).toBeUndefined();
  });
}

function stopping(subject: Subject): void {
  test("stop() lets the command end by itself within the grace", async () => {
    const id = await subject.started(subject.script(`trap 'exit 7' TERM; echo ready; ${HEEDFUL}`));
    await ready(subject, id);
    await subject.runtime.stop(id, { graceMs: 30_000 }, soon());
    expect(await subject.facts(id)).toMatchObject({ state: "exited", exitCode: 7 });
  });

  test("stop() kills after the grace what does not want to end", async () => {
    const id = await subject.started(subject.script(`trap '' TERM; echo ready; ${HEEDFUL}`));
    await ready(subject, id);
    await subject.runtime.stop(id, { graceMs: 100 }, soon());
    expect(await subject.facts(id)).toMatchObject({ state: "exited", exitCode: 137 });
  });

  test("stop() of a container that does not run is no error", async () => {
    const fresh = await subject.created(subject.script("true"));
    await subject.runtime.stop(fresh, { graceMs: 0 }, soon());
    const ended = await subject.ran(subject.script("true"));
    await subject.runtime.stop(ended, { graceMs: 0 }, soon());
    expect((await subject.facts(fresh)).state).toBe("created");
    expect(await subject.facts(ended)).toMatchObject({ state: "exited", exitCode: 0 });
  });

  test("stop() of a paused container ends it", async () => {
    const id = await subject.started(subject.script(FOREVER));
    await subject.runtime.pause(id, soon());
    await subject.runtime.stop(id, { graceMs: 100 }, soon());
    expect((await subject.facts(id)).state).toBe("exited");
  });

  test("kill() sends the signal that it is told", async () => {
    const id = await subject.started(subject.script(`trap 'exit 9' USR1; echo ready; ${HEEDFUL}`));
    await ready(subject, id);
    await subject.runtime.kill(id, { signalName: "USR1" }, soon());
    await subject.text(id, { follow: true });
    expect(await subject.facts(id)).toMatchObject({ state: "exited", exitCode: 9 });
    expect((await failure(subject.runtime.kill(id, { signalName: "USR1" }, soon()))).kind).toBe(
      "failed_precondition",
    );
  });

  test("pause() and resume() are facts, and FAILED_PRECONDITION when it is so already", async () => {
    const { runtime } = subject;
    const id = await subject.started(subject.script(FOREVER));
    await runtime.pause(id, soon());
    expect((await subject.facts(id)).state).toBe("paused");
    expect((await failure(runtime.pause(id, soon()))).kind).toBe("failed_precondition");
    expect((await failure(subject.exec(id, ["true"]))).kind).toBe("failed_precondition");
    await runtime.resume(id, soon());
    expect((await subject.facts(id)).state).toBe("running");
    expect((await failure(runtime.resume(id, soon()))).kind).toBe("failed_precondition");
    await runtime.remove(id, soon());
  });

  test("pause() while commands are started freezes the container, and loses none of them", async () => {
    const { runtime } = subject;
    const id = await subject.started(subject.script(FOREVER));
    for (let round = 0; round < 3; round++) {
      const commands = [subject.run(id, ["echo", "one"]), subject.run(id, ["echo", "two"])];
      const settled = Promise.allSettled(commands);
      await runtime.pause(id, soon());
      expect((await subject.facts(id)).state).toBe("paused");
      await runtime.resume(id, soon());
      // One that came too late was refused.
      for (const command of await settled)
        expect(command).toMatchObject(
          command.status === "fulfilled"
            ? { value: { stdout: expect.stringMatching(/^(one|two)\n$/), outcome: { code: 0 } } }
            : { reason: { kind: "failed_precondition" } },
        );
    }
    await runtime.remove(id, soon());
  });
}

function removing(subject: Subject): void {
  test("a container's name works wherever its id does", async () => {
    const spec = subject.script(FOREVER);
    const id = await subject.started(spec);
    const name = spec.name as RuntimeId; // as: that is what is promised
    expect(await subject.runtime.inspect(name, soon())).toMatchObject({ id, state: "running" });
    await subject.runtime.kill(name, { signalName: "KILL" }, soon());
    await subject.runtime.remove(name, soon());
    expect(await subject.runtime.inspect(id, soon())).toBeUndefined();
  });

  test("remove() works in every state, and again", async () => {
    const { runtime } = subject;
    const running = await subject.started(subject.script(FOREVER));
    const paused = await subject.started(subject.script(FOREVER));
    await runtime.pause(paused, soon());
    const ids = [
      await subject.created(subject.script("true")),
      running,
      paused,
      await subject.ran(subject.script("true")),
    ];
    for (const id of ids) await runtime.remove(id, soon());
    for (const id of ids) await runtime.remove(id, soon());
    for (const id of ids) expect(await runtime.inspect(id, soon())).toBeUndefined();
  });

  test("remove() by several at the same time resolves for all when it is gone", async () => {
    const id = await subject.started(subject.script(FOREVER));
    const gone = async (): Promise<unknown> => {
      await subject.runtime.remove(id, soon());
      return await subject.runtime.inspect(id, soon());
    };
    expect(await Promise.all([gone(), gone(), gone(), gone()])).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
  });
}

function listing(subject: Subject): void {
  test("list() finds in any state those that carry all labels", async () => {
    const mine = { "contract.list": crypto.randomUUID() };
    const labels = { ...mine, kind: "a" };
    const fresh = await subject.created(subject.script("true", { labels }));
    const ended = await subject.ran(subject.script("exit 4", { labels }));
    const other = await subject.created(subject.script("true", { labels: { ...mine, kind: "b" } }));
    const found = await subject.runtime.list(labels, soon());
    expect(new Set(found.map(({ id }) => id))).toEqual(new Set([fresh, ended]));
    expect(found.find(({ id }) => id === ended)).toEqual(await subject.facts(ended));
    expect((await subject.runtime.list(mine, soon())).length).toBe(3);
    await subject.runtime.remove(other, soon());
    expect((await subject.runtime.list(mine, soon())).length).toBe(2);
    expect(await subject.runtime.list({ ...mine, kind: "c" }, soon())).toEqual([]);
  });
}

function aborting(subject: Subject): void {
  test("every call ends with CANCELLED when its signal has aborted", async () => {
    const { runtime } = subject;
    const id = await subject.created(subject.script("true"));
    const gone = AbortSignal.abort();
    const calls = [
      runtime.info(gone),
      runtime.imageDigest("x", gone),
      runtime.create(subject.script("true"), gone),
      runtime.start(id, gone),
      runtime.stop(id, { graceMs: 1 }, gone),
      runtime.kill(id, { signalName: "TERM" }, gone),
      runtime.pause(id, gone),
      runtime.remove(id, gone),
      runtime.inspect(id, gone),
      runtime.list({}, gone),
      runtime.portHolders({ hostPort: 1, protocol: "tcp" }, gone),
      runtime.networks.create({ name: "x", labels: {} }, gone),
      runtime.networks.get("x", gone),
      runtime.networks.list({}, gone),
      runtime.networks.remove("x", gone),
      runtime.volumes.create({ name: "x", labels: {} }, gone),
      runtime.volumes.list({}, gone),
      runtime.volumes.remove("x", gone),
      subject.exec(id, ["true"], {}, gone),
      subject.logs(id, {}, gone)[Symbol.asyncIterator]().next(),
      runtime.watch({}, gone)[Symbol.asyncIterator]().next(),
      runtime.pull("x", gone)[Symbol.asyncIterator]().next(),
    ];
    expect(await kinds(calls)).toEqual(new Set(["cancelled"]));
    expect((await subject.facts(id)).state).toBe("created");
  });

  test("stop() ends its wait when its signal aborts", async () => {
    const id = await subject.started(subject.script(`trap '' TERM; echo ready; ${HEEDFUL}`));
    await ready(subject, id);
    const aborting = new AbortController();
    const stopping = failure(subject.runtime.stop(id, { graceMs: 600_000 }, aborting.signal));
    aborting.abort();
    expect((await stopping).kind).toBe("cancelled");
    await subject.runtime.remove(id, soon());
  });
}

/** Resolves when the script has said "ready": its traps are set. */
async function ready(subject: Subject, id: RuntimeId): Promise<void> {
  for await (const { data } of subject.logs(id, { follow: true })) {
    if (Buffer.from(data).includes("ready")) return;
  }
}

async function kinds(calls: readonly Promise<unknown>[]): Promise<Set<string>> {
  return new Set(await Promise.all(calls.map(async (call) => (await failure(call)).kind)));
}
