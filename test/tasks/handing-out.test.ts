import { describe, expect, test } from "bun:test";
import { startHandingOut } from "./handed-out.ts";

describe("HandingOut.gone()", () => {
  test("takes every task from an agent, however many it has and however few the store takes at a time", async () => {
    const parts = startHandingOut({ mostWaiting: 1_500 });
    const agent = parts.agent({ seats: 4_000 });
    const tasks = await parts.make(4_000);
    parts.handing.arrived(agent);
    await parts.idle();
    expect(parts.countOf("pending")).toBe(4_000);
    parts.handing.gone(agent.id, "it is gone");
    await parts.idle();
    expect(parts.countOf("queued")).toBe(tasks.length);
    expect(parts.store.refused).toBe(0);
  });

  test("takes them when the disk that was full has room again", async () => {
    const parts = startHandingOut({ mostWaiting: 1_500 });
    const agent = parts.agent({ seats: 2 });
    await parts.make(2);
    parts.handing.arrived(agent);
    await parts.idle();
    parts.store.isFull = true;
    parts.handing.gone(agent.id, "it is gone");
    await parts.store.refusal;
    parts.store.isFull = false;
    await parts.idle();
    expect(parts.countOf("queued")).toBe(2);
    expect(parts.handing.handedOut).toBe(0);
  });
});
