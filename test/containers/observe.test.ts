import { expect, test } from "bun:test";
import type { Container, ContainerId } from "../../src/containers/container.ts";
import { forget, lifeOf, observe } from "../../src/containers/observe.ts";
import type { ContainerFacts, RuntimeId } from "../../src/runtime/runtime.ts";
import type { SessionId } from "../../src/sessions/session.ts";
import { containerConfig } from "./container-config.ts";

const running: ContainerFacts = {
  // as: any word is an id here
  id: "engine-id" as RuntimeId,
  name: "baaaht-1",
  image: "demo:1",
  imageDigest: "sha256:1",
  state: "running",
  health: "none",
  createdAt: 1_000,
  startedAt: 2_000,
  oomKilled: false,
  labels: {},
  ports: [],
};

test("observe() tells of each end after which a container is started again, once, and of no stop", () => {
  const first: ContainerFacts = { ...running, state: "restarting", exitedAt: 3_000, exitCode: 3 };
  const again: ContainerFacts = { ...running, startedAt: 4_000 };
  const second: ContainerFacts = { ...again, state: "restarting", exitedAt: 5_000, exitCode: 4 };
  expect(told([running, first, first, again, second])).toEqual([
    [
      "container_restarting",
      { exit_code: "3", exited_at: new Date(3_000).toISOString(), oom_killed: "false" },
    ],
    ["container_started", { image: "demo:1" }],
    [
      "container_restarting",
      { exit_code: "4", exited_at: new Date(5_000).toISOString(), oom_killed: "false" },
    ],
  ]);
});

test("observe() tells that a container has stopped whose restart policy gives up", () => {
  const first: ContainerFacts = { ...running, state: "restarting", exitedAt: 3_000, exitCode: 3 };
  const over: ContainerFacts = { ...running, state: "exited", exitedAt: 3_000, exitCode: 3 };
  expect(told([running, first, over]).map(([type]) => type)).toEqual([
    "container_restarting",
    "container_stopped",
  ]);
});

/** What is told of a container of which the engine says these things, one after the other. */
function told(facts: readonly ContainerFacts[]) {
  const [begin = running, ...rest] = facts;
  let container: Container = {
    id: "1" as ContainerId, // any word is an id here
    sessionId: "2" as SessionId, // and here
    name: "baaaht-1",
    config: containerConfig({}),
    createdAt: 1_000,
    answerRow: "",
    life: lifeOf(begin, { life: { state: "creating" } }),
  };
  return rest.flatMap((fact) => {
    const observing = { at: 9_000, actor: "system", correlationId: "", source: "containers", reason: "" };
    const { result, events } = observe({ container, row: container, session: undefined }, fact, observing);
    container = result;
    return events.map(({ type, data }) => [type, data] as const);
  });
}

test("observe() and forget() of a container that was abandoned change nothing", () => {
  const container: Container = {
    id: "1" as ContainerId, // any word is an id here
    sessionId: "2" as SessionId, // and here
    name: "baaaht-1",
    config: containerConfig({}),
    createdAt: 1_000,
    answerRow: "",
    life: { state: "creating" },
  };
  const observing = { at: 9_000, actor: "system", correlationId: "", source: "containers", reason: "" };
  const loaded = { container, row: undefined, session: undefined };
  expect(observe(loaded, running, observing)).toMatchObject({ result: container, rows: [], events: [] });
  const forgetting = { ...observing, type: "container_removed" } as const;
  expect(forget({ ...loaded, open: undefined }, forgetting)).toMatchObject({ rows: [], events: [] });
});
