import { expect } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import type { TestServer } from "../server.ts";

/** An innocent client with a connection of its own that calls GetSession in a loop while others misbehave. */
export interface Canary extends AsyncDisposable {
  /** Ends the loop, and fails the test when one of its calls did or when there were none. */
  unharmed(): Promise<void>;
}

/** How long each of its calls may take; what others do to the server must not cost more. Milliseconds. */
const PATIENCE_MS = 5_000;

export async function startCanary(server: TestServer): Promise<Canary> {
  const client = server.connect({ reconnectMaxAttempts: 1 });
  const { sessionId } = await client.orchestrator.createSession({ metadata: { name: "canary" } });
  const stop = new AbortController();
  const failures: unknown[] = [];
  let calls = 0;
  const loop = (async () => {
    while (!stop.signal.aborted) {
      try {
        const { session } = await client.orchestrator.getSession({ sessionId }, { timeoutMs: PATIENCE_MS });
        expect(session?.metadata?.name).toBe("canary");
      } catch (error) {
        failures.push(error);
      }
      calls += 1;
      await new Promise((resolve) => setTimeout(resolve, 5)); // a rhythm, so that it doesn't load the server itself
    }
  })();
  const end = async () => {
    stop.abort();
    await loop;
  };
  return {
    unharmed: async () => {
      await end();
      expect(failures).toEqual([]);
      expect(calls).toBeGreaterThan(0);
    },
    [Symbol.asyncDispose]: end,
  };
}

/** What a process holds. */
export interface Holdings {
  readonly descriptors: number;
  readonly memoryBytes: number;
}

export function holdings(pid: number): Holdings {
  const resident = Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
  return { descriptors: readdirSync(`/proc/${pid}/fd`).length, memoryBytes: resident * 1024 };
}

/**
 * Waits until the server holds about what it held before: as many descriptors and `spareBytes` more memory at most.
 * Fails the test when it doesn't come to that.
 */
export async function holdsAgain(
  pid: number,
  before: Holdings,
  options: { readonly spareBytes: number },
): Promise<void> {
  const deadline = performance.now() + 15_000;
  for (;;) {
    const now = holdings(pid);
    const isBack =
      now.descriptors <= before.descriptors && now.memoryBytes <= before.memoryBytes + options.spareBytes;
    if (isBack) return;
    if (performance.now() > deadline) {
      expect(now.descriptors).toBeLessThanOrEqual(before.descriptors);
      expect(now.memoryBytes).toBeLessThanOrEqual(before.memoryBytes + options.spareBytes);
    }
    // Another process's memory gives no word when it is given back.
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
