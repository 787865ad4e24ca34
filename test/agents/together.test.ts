import { expect, test } from "bun:test";
import type { AgentCapabilities } from "../../src/agents/agent.ts";
import { capabilitiesTogether, usageTogether } from "../../src/agents/together.ts";
import type { Usage } from "../../src/containers/usage.ts";

const none: AgentCapabilities = {
  supportedTasks: [],
  supportedTools: [],
  maxConcurrentTasks: 0,
  limits: { nanoCpu: 0n, memoryBytes: 0n, memorySwap: 0n, pidsLimit: 0n },
  supportsStreaming: false,
  supportsCancellation: false,
  supportedProtocols: [],
};

const usage: Usage = {
  at: 1,
  cpuPercent: 10,
  memoryBytes: 5,
  memoryLimitBytes: 10,
  memoryPercent: 50,
  networkRxBytes: 0,
  networkTxBytes: 0,
  blockReadBytes: 0,
  blockWriteBytes: 0,
  pids: 1,
  pidsLimit: 0,
};

test("capabilitiesTogether() unites lists, sums tasks of which 0 means 1, and takes the largest limits", () => {
  const one = {
    ...none,
    supportedTasks: ["b", "a"],
    limits: { ...none.limits, memoryBytes: 5n, pidsLimit: 7n },
  };
  const other = {
    ...none,
    supportedTasks: ["c", "a"],
    maxConcurrentTasks: 4,
    supportsCancellation: true,
    limits: { ...none.limits, memoryBytes: 9n },
  };
  expect(capabilitiesTogether([one, other])).toEqual({
    ...none,
    supportedTasks: ["a", "b", "c"],
    maxConcurrentTasks: 5,
    supportsCancellation: true,
    limits: { ...none.limits, memoryBytes: 9n }, // no limit of pids is more than any
  });
  expect(capabilitiesTogether([])).toEqual(none);
});

test("usageTogether() sums, and stops at the largest count that is one", () => {
  expect(usageTogether([])).toBeUndefined();
  expect(usageTogether([usage, usage])).toMatchObject({ cpuPercent: 20, memoryBytes: 10, pids: 2 });
  const huge = { ...usage, networkRxBytes: Number.MAX_SAFE_INTEGER };
  expect(usageTogether([huge, huge, huge])?.networkRxBytes).toBe(Number.MAX_SAFE_INTEGER);
});
