import { describe } from "bun:test";
import { copyContract } from "./runtime-copies.ts";
import { execContract } from "./runtime-exec.ts";
import { imageContract } from "./runtime-images.ts";
import { lifecycleContract } from "./runtime-lifecycle.ts";
import { logContract } from "./runtime-logs.ts";
import { statsContract } from "./runtime-stats.ts";
import { type RuntimeSubject, Subject } from "./runtime-subject.ts";
import { surroundingsContract } from "./runtime-surroundings.ts";
import { watchContract } from "./runtime-watch.ts";

/**
 * What every implementation of Runtime promises (src/runtime/runtime.ts). The container's command is a shell script, of
 * which test/runtime/fake-shell.ts understands as much as is used here.
 */
export function runtimeContract(name: string, make: () => Promise<RuntimeSubject>): void {
  describe(name, () => {
    const subject = new Subject(make);
    describe("lifecycle", () => lifecycleContract(subject));
    describe("images", () => imageContract(subject));
    describe("logs", () => logContract(subject));
    describe("exec", () => execContract(subject));
    describe("surroundings", () => surroundingsContract(subject));
    describe("copies", () => copyContract(subject));
    describe("stats", () => statsContract(subject));
    describe("watch", () => watchContract(subject));
  });
}
