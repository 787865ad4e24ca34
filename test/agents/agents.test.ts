import { describe, expect, test } from "bun:test";
import type { AgentId } from "../../src/agents/agent.ts";
import { nothingReported } from "../../src/agents/presence.ts";
import { forgetEndedOnce } from "../../src/agents/retention.ts";
import { thrown } from "../client/thrown.ts";
import { agentParts, call, everyMs, graceMs, metadata } from "./agent-parts.ts";

const beat = { report: nothingReported, token: undefined };
const signal = new AbortController().signal;

describe("loseSilent()", () => {
  test("gives up on an agent that was silent for the grace, and not a second earlier", async () => {
    const parts = await agentParts();
    const { id } = await parts.register();
    await parts.pass(graceMs - everyMs);
    expect(parts.agents.isLive(id)).toBe(true);
    await parts.pass(everyMs);
    expect(parts.agents.isLive(id)).toBe(false);
    expect(parts.changes.at(-1)).toMatchObject({ kind: "lost", agent: { id, life: { state: "lost" } } });
    expect((await parts.events()).at(-1)).toMatchObject({
      type: "agent_lost",
      source: "agents",
      agentId: id,
      actor: "system",
      data: { name: "worker", reason: "no sign of life for 90 s" },
    });
  });

  test.each(["heartbeat", "saw", "arrive"] as const)("counts %s as a sign of life", async (way) => {
    const parts = await agentParts();
    const { id } = await parts.register();
    await parts.pass(graceMs - everyMs);
    if (way === "saw") expect(parts.agents.saw(id)).toBe(true);
    else if (way === "heartbeat") await parts.agents.heartbeat(id, beat, call());
    else await parts.agents.arrive(id, { token: undefined, doing: "see agent" }, call());
    await parts.pass(graceMs - everyMs);
    expect(parts.agents.isLive(id)).toBe(true);
    await parts.pass(everyMs);
    expect(parts.agents.isLive(id)).toBe(false);
  });

  test("leaves an agent with an open line alone, and gives it its grace when the line is closed", async () => {
    const parts = await agentParts();
    const { id } = await parts.register();
    parts.agents.lineOpened(id);
    await parts.pass(10 * graceMs);
    expect(parts.agents.isLive(id)).toBe(true);
    parts.agents.lineClosed(id);
    await parts.pass(graceMs - everyMs);
    expect(parts.agents.isLive(id)).toBe(true);
    await parts.pass(everyMs);
    expect(parts.agents.isLive(id)).toBe(false);
  });

  test("does not take the time that the server itself was held up for silence", async () => {
    const parts = await agentParts();
    const { id } = await parts.register();
    await parts.pass(30_000);
    await parts.standStill(10 * graceMs);
    expect(parts.agents.isLive(id)).toBe(true);
    await parts.pass(graceMs - 32_000);
    expect(parts.agents.isLive(id)).toBe(true);
    await parts.pass(2_000);
    expect(parts.agents.isLive(id)).toBe(false);
  });

  test("heeds no wall clock that is set", async () => {
    const parts = await agentParts();
    const { id } = await parts.register();
    parts.setClock(1e9);
    await parts.pass(everyMs);
    expect(parts.agents.isLive(id)).toBe(true);
    parts.setClock(-2e9);
    await parts.pass(graceMs);
    expect(parts.agents.isLive(id)).toBe(false);
  });

  test("loses an agent to one of a beat and a silence that meet, and the beat wins", async () => {
    const parts = await agentParts();
    const { id } = await parts.register();
    await parts.pass(graceMs - everyMs);
    const losing = parts.pass(everyMs); // its change waits for the next commit
    const beating = parts.agents.heartbeat(id, beat, call());
    await Promise.all([losing, beating]);
    expect(parts.agents.isLive(id)).toBe(true);
    expect((await parts.agents.get(id)).agent.life.state).toBe("live");
    expect((await parts.events()).map(({ type }) => type)).toEqual(["agent_registered"]);
  });

  test("loses thousands in a few looks", async () => {
    const parts = await agentParts();
    for (let index = 0; index < 600; index += 1) await parts.register();
    await parts.pass(graceMs + 2 * everyMs);
    expect(parts.agents.count).toBe(0);
    expect((await parts.events()).filter(({ type }) => type === "agent_lost").length).toBe(600);
  });
});

describe("a lost agent", () => {
  test("is back with its id when it beats, and that is told once", async () => {
    const parts = await agentParts();
    const { id } = await parts.register({ metadata: metadata({ labels: { a: "b" } }) });
    await parts.pass(graceMs);
    await Promise.all([1, 2, 3].map(() => parts.agents.heartbeat(id, beat, call())));
    expect(parts.agents.isLive(id)).toBe(true);
    expect(parts.changes.map(({ kind }) => kind)).toEqual(["live", "lost", "live"]);
    const events = await parts.events();
    expect(events.map(({ type }) => type)).toEqual(["agent_registered", "agent_lost", "agent_registered"]);
    expect(events.at(-1)).toMatchObject({ labels: { a: "b" }, data: { returned: "true" } });
  });

  test("has its old token", async () => {
    const parts = await agentParts();
    const wanted = await parts.agents.register({ ...(await parts.register()), name: "t" }, call());
    await parts.pass(graceMs);
    const wrong = { ...beat, token: "wrong" };
    expect(await thrown(() => parts.agents.heartbeat(wanted.agent.agent.id, wrong, call()))).toMatchObject({
      kind: "unauthenticated",
    });
    await parts.agents.heartbeat(wanted.agent.agent.id, { ...beat, token: wanted.token }, call());
  });

  test("does not come back beyond the bound on live agents", async () => {
    const parts = await agentParts({ maxAgents: 2 });
    const { id } = await parts.register();
    await parts.pass(graceMs);
    await parts.register();
    await parts.register();
    expect(await thrown(() => parts.agents.heartbeat(id, beat, call()))).toMatchObject({
      kind: "resource_exhausted",
      details: { reason: "TOO_MANY_AGENTS" },
    });
    expect(parts.agents.count).toBe(2);
  });

  test("can be signed off", async () => {
    const parts = await agentParts();
    const { id } = await parts.register();
    await parts.pass(graceMs);
    expect(await parts.agents.unregister(id, { reason: "gone", token: undefined }, call())).toBe(
      "signed_off",
    );
    expect((await parts.agents.get(id)).agent.life).toMatchObject({ state: "unregistered", reason: "gone" });
    expect(await thrown(() => parts.agents.heartbeat(id, beat, call()))).toMatchObject({ kind: "not_found" });
  });
});

describe("register()", () => {
  test("is RESOURCE_EXHAUSTED at the bound, also for calls that come at once", async () => {
    const parts = await agentParts({ maxAgents: 3 });
    const outcomes = await Promise.allSettled([1, 2, 3, 4, 5].map(() => parts.register()));
    expect(outcomes.map(({ status }) => status === "fulfilled")).toEqual([true, true, true, false, false]);
    const [first] = parts.agents.live();
    await parts.agents.unregister(first?.agent.id ?? nobody, { reason: "", token: undefined }, call());
    await parts.register();
  });

  test("keeps no token, only its hash", async () => {
    const parts = await agentParts();
    const { agent, token } = await parts.agents.register({ ...(await parts.register()), name: "t" }, call());
    expect(Bun.inspect(agent, { depth: 10 })).not.toContain(token);
    expect(agent.agent.tokenHash).toBe(new Bun.CryptoHasher("sha256").update(token).digest("hex"));
  });
});

describe("takeUp()", () => {
  test("gives every agent that was live a whole grace, with its id", async () => {
    const parts = await agentParts();
    const [one, other, off] = [await parts.register(), await parts.register(), await parts.register()];
    await parts.agents.unregister(off.id, { reason: "", token: undefined }, call());
    parts.agents.lineOpened(other.id);
    await parts.pass(graceMs - everyMs);
    parts.setClock(10 * graceMs); // how long nothing ran
    await parts.restart();
    expect(parts.agents.live().map(({ agent }) => agent.id)).toEqual([one.id, other.id]);
    expect(parts.agents.live().map(({ line }) => line)).toEqual(["none", "none"]);
    await parts.pass(graceMs - everyMs);
    await parts.agents.heartbeat(one.id, beat, call());
    await parts.pass(everyMs);
    expect(parts.agents.live().map(({ agent }) => agent.id)).toEqual([one.id]);
    expect((await parts.events()).filter(({ type }) => type === "agent_lost").length).toBe(1);
  });

  test("takes up what was lost as lost, and counts as before", async () => {
    const parts = await agentParts({ maxAgents: 1 });
    const { id } = await parts.register();
    await parts.pass(graceMs);
    await parts.restart();
    expect(parts.agents.isLive(id)).toBe(false);
    await parts.register();
    await parts.restart();
    expect(await thrown(() => parts.register())).toMatchObject({ kind: "resource_exhausted" });
  });

  test("knows of an agent that beats when it was heard of, as of a minute before", async () => {
    const parts = await agentParts();
    const { id } = await parts.register();
    for (let minute = 0; minute < 5; minute += 1) {
      await parts.pass(60_000);
      await parts.agents.heartbeat(id, beat, call());
    }
    const before = parts.clock();
    await parts.restart();
    expect((await parts.agents.get(id)).heardAt).toBeGreaterThanOrEqual(before - 60_000);
  });
});

describe("unregister()", () => {
  test("decides for one of a beat and a signing off that meet", async () => {
    const parts = await agentParts();
    const { id } = await parts.register();
    const off = parts.agents.unregister(id, { reason: "", token: undefined }, call());
    await Promise.allSettled([off, parts.agents.heartbeat(id, beat, call())]);
    const later = await thrown(() => parts.agents.heartbeat(id, beat, call()));
    expect(later).toMatchObject({ kind: "not_found", details: { reason: "AGENT_UNREGISTERED" } });
    expect(parts.agents.isLive(id)).toBe(false);
  });

  test("is NOT_FOUND for an unknown id", async () => {
    const parts = await agentParts();
    expect(
      await thrown(() => parts.agents.unregister(nobody, { reason: "", token: undefined }, call())),
    ).toMatchObject({
      kind: "not_found",
      details: { reason: "AGENT_NOT_FOUND", metadata: { agent_id: nobody } },
    });
  });
});

describe("forgetEndedOnce()", () => {
  test("forgets those that ended long ago, and the oldest that are too many; never one that is live", async () => {
    const parts = await agentParts();
    const live = await parts.register();
    parts.agents.lineOpened(live.id);
    const ended: AgentId[] = [];
    for (let index = 0; index < 6; index += 1) {
      const { id } = await parts.register();
      ended.push(id);
      await parts.agents.unregister(id, { reason: "", token: undefined }, call());
      await parts.pass(10_000);
    }
    const keep = async (keepEndedMs: number, maxEnded: number) => {
      await forgetEndedOnce({ ...parts, retention: { keepEndedMs, maxEnded } }, signal);
      const { rows } = await parts.agents.list({ filter: {}, limit: 100 });
      return rows.map(({ agent }) => agent.id);
    };
    expect(await keep(45_000, 100)).toEqual([...ended.slice(2).toReversed(), live.id]);
    expect(await keep(45_000, 3)).toEqual([...ended.slice(3).toReversed(), live.id]);
    expect(await keep(0, 100)).toEqual([live.id]);
  });
});

const nobody = "019ab000-0000-7000-8000-000000000000" as AgentId; // no agent has it
