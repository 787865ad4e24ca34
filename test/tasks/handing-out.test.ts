import { describe, expect, test } from "bun:test";
import { Failure } from "../../src/failure.ts";
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

describe("HandingOut.arrived()", () => {
  test("gives a task that could not be leased to another agent when the first has gone", async () => {
    const parts = startHandingOut({ mostWaiting: 1_500 });
    const [first, other] = [parts.agent({ seats: 1 }), parts.agent({ seats: 1 })];
    await parts.make(1);
    parts.store.isFull = true;
    parts.handing.arrived(first);
    await parts.store.refusal;
    parts.handing.arrived(other); // there is nothing for it while the first is to be tried again
    parts.handing.gone(first.id, "it is gone");
    parts.store.isFull = false;
    await parts.idle();
    expect(parts.handing.heldBy(other.id)).toHaveLength(1);
  });
});

describe("HandingOut.hasRoom()", () => {
  test("goes on telling an agent of its tasks, in their order, whenever its line has room", async () => {
    const parts = startHandingOut({ mostWaiting: 1_000 });
    const agent = parts.agent({ seats: 50 });
    const tasks = await parts.make(50);
    let told: string[] = [];
    let room = 8;
    parts.deliver = (_agentId, { payload }) => {
      if (room === 0) throw new Failure("resource_exhausted", "Cannot pass a message: the queue is full");
      room -= 1;
      if (payload.kind === "task") told.push(payload.taskId);
    };
    parts.handing.arrived(agent);
    await parts.idle();
    parts.handing.lineOpened(agent);
    expect(told).toHaveLength(8);
    await parts.cancel(tasks[20]); // it was not told of it, and is not now
    while (told.length < 49) {
      const before = told.length;
      room = 1;
      parts.handing.hasRoom(agent.id);
      expect(told.length).toBe(before + 1);
    }
    expect(told).toEqual(tasks.flatMap(({ id }, at) => (at === 20 ? [] : [id])));
    expect(parts.handing.pendingOf(agent.id).every((task) => parts.handing.isTold(task))).toBe(true);
    told = [];
    room = 0;
    await parts.cancel(tasks[3]);
    room = 8;
    parts.handing.hasRoom(agent.id);
    expect(room).toBe(7); // that it is to be given up
  });
});
