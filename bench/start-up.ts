import { join } from "node:path";
import { startServer } from "../test/server.ts";
import { compileBare, startBare } from "./bare-program.ts";
import type { Bench, Figure, Row } from "./figure.ts";
import { residentMb } from "./processor-time.ts";
import { serveIn } from "./serve-process.ts";
import { untilServing } from "./serving.ts";
import { pairedRatio, sampleOf } from "./statistics.ts";

/** How long the server and a command take to start, and what an idle server keeps. */
export const startUp: Figure = {
  name: "start-up",
  measure: async (bench) => {
    const hello = await compileBare("bare-hello", bench.folder);
    const rounds = bench.length === "quick" ? 2 : 20;
    const ready = { ours: [] as number[], bare: [] as number[] };
    const listed = { ours: [] as number[], bare: [] as number[] };
    const idle = { ours: [] as number[], bare: [] as number[] };
    await using server = await startServer({ program: [bench.program] });
    const list = [bench.program, "session", "list", "--grpc-socket-path", server.socketPath];
    // The first round warms up and is not counted.
    for (let round = 0; round <= rounds; round += 1) {
      const serve = await startAndIdle(bench, round);
      const measured = { helloMs: await timeProcess([hello]), listMs: await timeProcess(list) };
      await using waiting = await startBare([hello, "wait"]);
      if (round === 0) continue;
      ready.ours.push(serve.readyMs);
      ready.bare.push(measured.helloMs);
      listed.ours.push(measured.listMs);
      listed.bare.push(await timeProcess([hello]));
      if (serve.idleMb !== undefined) {
        idle.ours.push(serve.idleMb);
        idle.bare.push(residentMb(waiting.pid));
      }
    }
    return [
      row("serve to ready, from nothing", "ms", ready, { is: "at most", value: 120 }),
      row("session list, as a process", "ms", listed, { is: "at most", value: 100 }),
      row("idle memory, resident", "MB", idle, { is: "below", value: 90 }),
    ];
  },
};

/** How long a server that has just started is left alone before its memory is read; every fifth is. Milliseconds. */
const idleMs = 3_000;

async function startAndIdle(
  bench: Bench,
  round: number,
): Promise<{ readonly readyMs: number; readonly idleMb: number | undefined }> {
  const begin = performance.now();
  const { child, socketPath } = serveIn(bench, join(bench.folder, `start-${round}`));
  await untilServing(socketPath);
  const readyMs = performance.now() - begin;
  const isRead = round === 1 || round % 5 === 0;
  if (isRead) await Bun.sleep(idleMs);
  const idleMb = isRead ? residentMb(child.pid) : undefined;
  child.kill("SIGKILL");
  await child.exited;
  return { readyMs, idleMb };
}

async function timeProcess(command: readonly string[]): Promise<number> {
  const begin = performance.now();
  const child = Bun.spawn([...command], { stdin: "ignore", stdout: "ignore", stderr: "pipe" });
  const code = await child.exited;
  const took = performance.now() - begin;
  if (code !== 0)
    throw new Error(`${command.join(" ")} ended with ${code}: ${await new Response(child.stderr).text()}`);
  return took;
}

function row(
  what: string,
  unit: string,
  { ours, bare }: { readonly ours: readonly number[]; readonly bare: readonly number[] },
  target: { readonly is: "at most" | "below"; readonly value: number },
): Row {
  return {
    what,
    unit,
    ours: sampleOf(ours),
    bare: { what: "compiled hello", sample: sampleOf(bare) },
    ratio: pairedRatio(ours, bare),
    target: { of: "ours", ...target },
  };
}
