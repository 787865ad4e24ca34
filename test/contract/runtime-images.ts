import { expect, test } from "bun:test";
import { all, failure, type Subject, soon } from "./runtime-subject.ts";

const MISSING = "localhost:1/contract/nowhere:1";

export function imageContract(subject: Subject): void {
  test("info() says who the engine is", async () => {
    const info = await subject.runtime.info(soon());
    expect(info.name).not.toBe("");
    expect(info.version).toMatch(/^\d/);
    expect(info.cpus).toBeGreaterThan(0);
    expect(info.memoryBytes).toBeGreaterThan(0);
    expect(await subject.runtime.info(soon())).toEqual(info);
    // An engine may look for all of its parts first.
  }, 60_000);

  test("imageDigest() is what inspect() says of a container of it", async () => {
    const spec = subject.script("true");
    const digest = await subject.runtime.imageDigest(spec.image, soon());
    expect(digest).toStartWith("sha256:");
    expect(await subject.facts(await subject.created(spec))).toMatchObject({ imageDigest: digest ?? "" });
  });

  test("imageDigest() knows no image that is missing", async () => {
    expect(await subject.runtime.imageDigest(MISSING, soon())).toBeUndefined();
  });

  test("create() of an image that is missing is NOT_FOUND and names it", async () => {
    const spec = subject.script("true", { image: MISSING });
    const missing = await failure(subject.created(spec));
    expect(missing.kind).toBe("not_found");
    expect(missing.message).toStartWith(`Cannot create container "${spec.name}": `);
    expect(missing.message).toContain(MISSING);
  });

  test("pull() of an image that can't be had fails and names it", async () => {
    const refused = await failure(all(subject.runtime.pull(MISSING, soon())));
    expect(["not_found", "unavailable"]).toContain(refused.kind);
    expect(refused.message).toStartWith(`Cannot pull image "${MISSING}": `);
  });

  test("pull() of a name that is none is INVALID_ARGUMENT", async () => {
    const refused = await failure(all(subject.runtime.pull("Not a name", soon())));
    expect(refused.kind).toBe("invalid_argument");
  });
}
