import { abortFailure, type Failure } from "../../src/failure.ts";
import type {
  ContainerFacts,
  ContainerSpec,
  Exec,
  ExecSpec,
  PullProgress,
  RuntimeEvent,
  RuntimeId,
} from "../../src/runtime/runtime.ts";
import { unlessAborted } from "../runtime/fake-pipe.ts";
import { FakeRuntime } from "../runtime/fake-runtime.ts";

type GatedCall =
  | "create"
  | "start"
  | "inspect"
  | "remove"
  | "stop"
  | "pull"
  | "list"
  | "exec"
  | "kill"
  | "watch";

/** Where a call is held: before the engine does it, or when it is done and its answer not yet given. */
type Side = "before" | "after";

interface Gate {
  readonly side: Side;
  readonly reached: PromiseWithResolvers<void>;
  readonly opened: PromiseWithResolvers<void>;
}

/** A fake engine of which single calls can be held until a test lets them go on, or that fails whole kinds of calls. */
export class GatedRuntime extends FakeRuntime {
  readonly #gates = new Map<GatedCall, Gate>();
  readonly #failing = new Map<GatedCall, Failure>();

  /** Holds the next call of this name, also when it is aborted meanwhile: then it throws as an aborted call does. */
  hold(call: GatedCall, side: Side): { readonly reached: Promise<void>; readonly release: () => void } {
    const gate: Gate = { side, reached: Promise.withResolvers(), opened: Promise.withResolvers() };
    this.#gates.set(call, gate);
    return { reached: gate.reached.promise, release: () => gate.opened.resolve() };
  }

  /** Every call of this name fails until it is mended. */
  fail(call: GatedCall, failure: Failure): void {
    this.#failing.set(call, failure);
  }

  mend(call: GatedCall): void {
    this.#failing.delete(call);
  }

  override async create(spec: ContainerSpec, signal: AbortSignal): Promise<RuntimeId> {
    return await this.#gated("create", signal, () => super.create(spec, signal));
  }

  override async start(id: RuntimeId, signal: AbortSignal): Promise<void> {
    await this.#gated("start", signal, () => super.start(id, signal));
  }

  override async stop(
    id: RuntimeId,
    options: { readonly graceMs: number },
    signal: AbortSignal,
  ): Promise<void> {
    await this.#gated("stop", signal, () => super.stop(id, options, signal));
  }

  override async kill(
    id: RuntimeId,
    options: { readonly signalName: string },
    signal: AbortSignal,
  ): Promise<void> {
    await this.#gated("kill", signal, () => super.kill(id, options, signal));
  }

  override async remove(id: RuntimeId, signal: AbortSignal): Promise<void> {
    await this.#gated("remove", signal, () => super.remove(id, signal));
  }

  override async inspect(id: RuntimeId, signal: AbortSignal): Promise<ContainerFacts | undefined> {
    return await this.#gated("inspect", signal, () => super.inspect(id, signal));
  }

  override async list(
    labels: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<readonly ContainerFacts[]> {
    return await this.#gated("list", signal, () => super.list(labels, signal));
  }

  override async exec(id: RuntimeId, spec: ExecSpec, signal: AbortSignal): Promise<Exec> {
    return await this.#gated("exec", signal, () => super.exec(id, spec, signal));
  }

  override async *watch(
    labels: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): AsyncGenerator<RuntimeEvent> {
    await this.#gated("watch", signal, async () => {});
    yield* super.watch(labels, signal);
  }

  override async *pull(image: string, signal: AbortSignal): AsyncGenerator<PullProgress> {
    await this.#gated("pull", signal, async () => {});
    yield* super.pull(image, signal);
  }

  async #gated<T>(call: GatedCall, signal: AbortSignal, act: () => Promise<T>): Promise<T> {
    const gate = this.#gates.get(call);
    this.#gates.delete(call);
    const failure = this.#failing.get(call);
    if (gate?.side === "before") await this.#pass(gate, signal);
    if (failure !== undefined) throw failure;
    const answer = await act();
    if (gate?.side === "after") await this.#pass(gate, signal);
    return answer;
  }

  async #pass(gate: Gate, signal: AbortSignal): Promise<void> {
    gate.reached.resolve();
    try {
      await unlessAborted(gate.opened.promise, signal);
    } catch {
      throw abortFailure(signal);
    }
  }
}
