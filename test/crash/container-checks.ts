import { callEngine } from "../../scripts/engine-api.ts";
import type { Client } from "../../src/client/client.ts";
import {
  type Container,
  ContainerState,
  ContainerStateSchema,
} from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import type { KnownContainer } from "./container-load.ts";
import { enumName } from "./enum-name.ts";
import { allContainers } from "./listings.ts";
import type { Violations } from "./violations.ts";

/** What the engine says of a container of an install. */
interface Engines {
  readonly id: string;
  readonly state: string;
  readonly op: string;
}

/** How long the server has, after a start, until its rows and the engine agree. */
const agreeWithinMs = 10_000;

/** Waits until rows and engine agree about the containers of an install; gives how long that took, milliseconds. */
export async function waitForAgreement(
  client: Client,
  engine: { readonly dockerHost: string; readonly install: string },
  violations: Violations,
): Promise<number> {
  const begin = performance.now();
  for (;;) {
    const apart = differences(await allContainers(client), await engineContainers(engine));
    const tookMs = performance.now() - begin;
    if (apart.length === 0) return tookMs;
    if (tookMs > agreeWithinMs) {
      violations.add(`${agreeWithinMs / 1_000} s after the start: ${apart.join("; ")}`);
      return tookMs;
    }
    // The engine is outside of both: there is nothing to await.
    await Bun.sleep(50);
  }
}

/** What was acknowledged of containers is true. */
export async function checkContainers(
  client: Client,
  known: readonly KnownContainer[],
  violations: Violations,
): Promise<void> {
  const rows = await allContainers(client);
  const byId = new Map(rows.map((row) => [row.id, row]));
  for (const { op, created, stopped, removed } of known) {
    const made = rows.filter((row) => row.config?.labels.op === op);
    violations.unless(made.length <= 1, () => `${op} was made ${made.length} times`);
    if (created.kind === "refused") violations.add(`${op} was refused: ${created.status}`);
    if (created.kind !== "acknowledged") continue;
    const row = byId.get(created.id);
    if (removed?.kind === "acknowledged") {
      violations.unless(row === undefined, () => `${op} was removed (acknowledged) and is there`);
    } else if (removed === undefined) {
      violations.unless(row !== undefined, () => `${op} (${created.id}) was acknowledged and is lost`);
      if (row !== undefined && stopped?.kind !== "unknown")
        checkState(row, stopped !== undefined, violations);
    }
  }
}

/** How many containers the engine has of an install. */
export async function countInEngine(engine: {
  readonly dockerHost: string;
  readonly install: string;
}): Promise<number> {
  return (await engineContainers(engine)).length;
}

/** Removes what a run leaves that has failed. */
export async function removeFromEngine(dockerHost: string, install: string): Promise<void> {
  for (const { Id } of await listed(dockerHost, install)) {
    await callEngine(dockerHost, `/containers/${Id}?force=1&v=1`, { method: "DELETE" });
  }
}

function checkState(row: Container, isStopped: boolean, violations: Violations): void {
  const due = isStopped ? ContainerState.EXITED : ContainerState.RUNNING;
  violations.unless(
    row.state === due,
    () =>
      `container ${row.id} has to be ${enumName(ContainerStateSchema, due)} and is ${enumName(ContainerStateSchema, row.state)}`,
  );
}

function differences(rows: readonly Container[], engines: readonly Engines[]): string[] {
  const found: string[] = [];
  const rest = new Map(engines.map((container) => [container.id, container]));
  for (const row of rows) {
    const theirs = rest.get(row.id);
    rest.delete(row.id);
    const state = enumName(ContainerStateSchema, row.state);
    if (theirs === undefined) found.push(`row ${row.id} (${state}) is not in the engine`);
    else if (theirs.state !== state)
      found.push(`row ${row.id} is ${state}, the engine has it ${theirs.state}`);
  }
  for (const { id, op } of rest.values()) found.push(`the engine has ${op} (${id}), which no row knows`);
  return found;
}

async function engineContainers(engine: {
  readonly dockerHost: string;
  readonly install: string;
}): Promise<readonly Engines[]> {
  return (await listed(engine.dockerHost, engine.install)).map(({ Labels, State }) => ({
    id: Labels["baaaht.container"] ?? "",
    state: State,
    op: Labels.op ?? "",
  }));
}

interface Listed {
  readonly Id: string;
  readonly State: string;
  readonly Labels: Readonly<Record<string, string>>;
}

async function listed(dockerHost: string, install: string): Promise<readonly Listed[]> {
  const filters = encodeURIComponent(JSON.stringify({ label: [`baaaht.install=${install}`] }));
  const answer = await callEngine(dockerHost, `/containers/json?all=1&filters=${filters}`);
  return (await answer.json()) as readonly Listed[]; // by the engine's API
}
