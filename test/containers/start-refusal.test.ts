import { describe, expect, test } from "bun:test";
import type { Container, ContainerId } from "../../src/containers/container.ts";
import { inOwnWords } from "../../src/containers/start-refusal.ts";
import { Failure } from "../../src/failure.ts";
import type { SessionId } from "../../src/sessions/session.ts";
import { FakeRuntime } from "../runtime/fake-runtime.ts";
import { containerConfig } from "./container-config.ts";

const container: Container = {
  id: "c1" as ContainerId, // any word is an id here
  sessionId: "s1" as SessionId, // and here
  name: "baaaht-c1",
  config: containerConfig({ image: "demo:1" }),
  createdAt: 0,
  answerRow: "",
  life: { state: "creating" },
};

describe("inOwnWords() names the field that an engine refuses", () => {
  /** The engine's words, as its versions have them. */
  const refusals = [
    ["Minimum memory limit allowed is 6MB", "config.resource_limits.memory_bytes"],
    [
      "Minimum memoryswap limit should be larger than memory limit, see usage",
      "config.resource_limits.memory_swap",
    ],
    [
      "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available",
      "config.resource_limits.nano_cpu",
    ],
    ["Invalid pids limit -7", "config.resource_limits.pids_limit"],
    ["maximum retry count cannot be used with restart policy 'always'", "config.restart_policy"],
    ["invalid restart policy 'sometimes'", "config.restart_policy"],
    ["No command specified", "config.command"],
    ["Duplicate mount point: /data", "config.mounts"],
    ['invalid volume specification: invalid mount config for type "bind"', "config.mounts"],
    ["invalid reference format: repository name must be lowercase", "config.image"],
    ["the working directory 'x' is invalid, it needs to be an absolute path", "config.working_dir"],
    ["something that no engine has said before", "config"],
  ] as const;

  test.each(refusals)("%s", async (words, field) => {
    const error = await told("invalid_argument", words);
    expect(error.details.violations).toEqual([{ field, description: `is refused by the engine: ${words}` }]);
    expect(error.message).toBe(`Cannot create container "c1" of image "demo:1": ${words}`);
  });

  test("and none where it is not the request that is wrong", async () => {
    expect(
      (await told("failed_precondition", "Minimum memory limit allowed is 6MB")).details.violations,
    ).toBe(undefined);
  });
});

async function told(kind: Failure["kind"], words: string): Promise<Failure> {
  await using runtime = new FakeRuntime();
  const refused = new Failure(kind, `Cannot create container "baaaht-c1": ${words}`);
  const error = await inOwnWords(refused, { container, runtime });
  if (!(error instanceof Failure)) throw new Error("it is a Failure");
  return error;
}
