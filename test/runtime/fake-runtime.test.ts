import { expect, test } from "bun:test";
import { runtimeContract } from "../contract/runtime.ts";
import { failure } from "../contract/runtime-subject.ts";
import { FakeRuntime } from "./fake-runtime.ts";

const never = (): AbortSignal => new AbortController().signal;

runtimeContract("FakeRuntime", async () => ({
  runtime: new FakeRuntime({ images: ["demo:1"] }),
  image: "demo:1",
}));

test("goDown() makes calls UNAVAILABLE and ends watches, comeUp() heals", async () => {
  await using runtime = new FakeRuntime();
  const watch = runtime.watch({}, never());
  await watch.next();
  const lost = failure(watch.next());
  runtime.goDown("nothing listens there");
  expect((await lost).message).toContain("fake://engine can't be used: nothing listens there");
  expect((await failure(runtime.list({}, never()))).kind).toBe("unavailable");
  await runtime.comeUp();
  expect(await runtime.list({}, never())).toEqual([]);
});
