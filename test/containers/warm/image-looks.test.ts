import { describe, expect, test } from "bun:test";
import { ImageLooks } from "../../../src/containers/warm/image-looks.ts";

describe("ImageLooks.digest()", () => {
  test("begins a look after it was asked, and shares it with all who ask before that", async () => {
    const looks: PromiseWithResolvers<string>[] = [];
    const images = new ImageLooks(() => {
      const look = Promise.withResolvers<string>();
      looks.push(look);
      return look.promise;
    });
    const first = images.digest("demo:1");
    const [second, third] = [images.digest("demo:1"), images.digest("demo:1")];
    expect(looks.length).toBe(1);
    looks[0]?.resolve("old");
    expect(await first).toBe("old");
    expect(looks.length).toBe(2);
    looks[1]?.resolve("new");
    expect([await second, await third]).toEqual(["new", "new"]);
    const fourth = images.digest("demo:1");
    expect(looks.length).toBe(3);
    looks[2]?.resolve("newest");
    expect(await fourth).toBe("newest");
  });

  test("looks again for those who asked during one that failed, and at each image by itself", async () => {
    let isDown = true;
    const images = new ImageLooks(async (image) => {
      await Promise.resolve();
      if (isDown) throw new Error("down");
      return `${image}'s`;
    });
    const first = images.digest("a").catch(() => "failed");
    const second = images.digest("a");
    expect(await first).toBe("failed");
    isDown = false;
    expect([await second, await images.digest("b")]).toEqual(["a's", "b's"]);
  });
});
