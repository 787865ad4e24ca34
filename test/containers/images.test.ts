import { describe, expect, test } from "bun:test";
import type { Pulling, PullProgress } from "../../src/containers/images.ts";
import { Failure } from "../../src/failure.ts";
import type { SessionId } from "../../src/sessions/session.ts";
import { thrown } from "../client/thrown.ts";
import { type DomainSubject, domainSubject } from "./domain-subject.ts";
import { GatedRuntime } from "./gated-runtime.ts";

const ID = `sha256:${new Bun.CryptoHasher("sha256").update("far:1").digest("hex")}`;

async function pull(subject: DomainSubject, pulling: Pulling, signal?: AbortSignal): Promise<PullProgress[]> {
  const progress: PullProgress[] = [];
  for await (const step of await subject.images.pull(pulling, subject.call(signal))) progress.push(step);
  return progress;
}

describe("pull()", () => {
  test("gives steps, and at last what the image is, and tells the log", async () => {
    await using subject = await domainSubject();
    const sessionId = await subject.session();
    const progress = await pull(subject, { image: "far:1", sessionId });
    expect(progress.slice(0, -1).slice(-1)).toEqual([
      { kind: "step", status: "Pull complete", layer: "layer", currentBytes: 2, totalBytes: 2 },
    ]);
    expect(progress.at(-1)).toEqual({ kind: "pulled", digest: ID, imageId: ID });
    await pull(subject, { image: "far:1" });
    expect(await subject.events("image_pulled")).toMatchObject([
      {
        source: "orchestrator.grpc",
        actor: "uid:1",
        sessionId,
        labels: { team: "blue" },
        data: { image: "far:1", digest: ID, image_id: ID, changed: "true" },
      },
      { data: { image: "far:1", changed: "false" } },
    ]);
  });

  test("of what is on its way already shares it, also for a container that needs it", async () => {
    await using subject = await domainSubject();
    const sessionId = await subject.session();
    const gate = subject.runtime.hold("pull", "before");
    const pulls = [pull(subject, { image: "far:1" }), pull(subject, { image: "far:1" })];
    await gate.reached;
    const creating = subject.create(sessionId, { image: "far:1" });
    gate.release();
    for (const progress of await Promise.all(pulls))
      expect(progress.at(-1)).toMatchObject({ kind: "pulled" });
    await creating;
    expect(subject.runtime.calls.get("pull")).toBe(1);
    expect(await subject.events("image_pulled")).toHaveLength(1);
  });

  test("goes on for those who stay, is cut off when all have gone, and begins anew after that", async () => {
    await using subject = await domainSubject();
    const gate = subject.runtime.hold("pull", "before");
    const [one, other] = [new AbortController(), new AbortController()];
    const first = thrown(() => pull(subject, { image: "far:1" }, one.signal));
    const second = thrown(() => pull(subject, { image: "far:1" }, other.signal));
    await gate.reached;
    one.abort();
    expect((await first).kind).toBe("cancelled");
    other.abort();
    expect((await second).kind).toBe("cancelled");
    expect((await pull(subject, { image: "far:1" })).at(-1)).toMatchObject({ kind: "pulled" });
    expect(await subject.events("image_pulled")).toHaveLength(1);
  });

  test("that a container needs is told too", async () => {
    await using subject = await domainSubject();
    const sessionId = await subject.session();
    await subject.create(sessionId, { image: "far:1" });
    expect(await subject.events("image_pulled")).toMatchObject([{ sessionId, data: { image: "far:1" } }]);
  });

  test("is refused by the session's allowed_images, and by the server's for pulls and containers", async () => {
    const limits = { BAAAHT_RUNTIME_ALLOWED_IMAGES: "demo:*, far:*" };
    await using subject = await domainSubject({ limits });
    const sessionId = await subject.session({ allowedImages: ["demo:*"] });
    const refused = [
      await thrown(() => pull(subject, { image: "far:1", sessionId })),
      await thrown(() => pull(subject, { image: "other:1" })),
    ];
    for (const failure of refused) {
      expect(failure).toMatchObject({
        kind: "permission_denied",
        details: { reason: "POLICY_VIOLATION", violations: [{ field: "image" }] },
      });
    }
    expect(refused[0]?.message).toContain('image is "far:1"; the session allows demo:*');
    const container = await thrown(() => subject.create(sessionId, { image: "other:1" }));
    expect(container).toMatchObject({
      kind: "permission_denied",
      details: { violations: [{ field: "config.image" }] },
    });
    expect(subject.runtime.calls.get("pull")).toBeUndefined();
  });

  test("says of an image, a registry and a session that are not there which it is", async () => {
    await using subject = await domainSubject();
    expect(await thrown(() => pull(subject, { image: "nowhere:1" }))).toMatchObject({
      kind: "not_found",
      details: { reason: "IMAGE_NOT_FOUND", metadata: { image: "nowhere:1" } },
    });
    subject.runtime.fail("pull", new Failure("unavailable", "Cannot pull: connection refused"));
    expect((await thrown(() => pull(subject, { image: "far:1" }))).details.reason).toBe(
      "REGISTRY_UNAVAILABLE",
    );
    const sessionId = "none" as SessionId; // any text may be one
    expect((await thrown(() => pull(subject, { image: "far:1", sessionId }))).details.reason).toBe(
      "SESSION_NOT_FOUND",
    );
    expect(await subject.events("image_pulled")).toEqual([]);
  });

  test("refuses more at once than there may be", async () => {
    const runtime = new GatedRuntime({ images: ["demo:1"], registry: ["far:1", "far:2"] });
    await using subject = await domainSubject({ runtime, limits: { BAAAHT_RUNTIME_MAX_PULLS: "1" } });
    const gate = runtime.hold("pull", "before");
    const only = pull(subject, { image: "far:1" });
    await gate.reached;
    expect(await thrown(() => pull(subject, { image: "far:2" }))).toMatchObject({
      kind: "resource_exhausted",
      details: { reason: "TOO_MANY_PULLS" },
    });
    gate.release();
    await only;
    await pull(subject, { image: "far:2" });
  });
});
