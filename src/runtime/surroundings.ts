/** Where an engine's containers run, which says whether paths of this host mean anything to it. */
export type RuntimeHost =
  /** On this host; reached through this socket, which no container should get hold of. */
  | { readonly kind: "this"; readonly socketPath: string }
  /** Reached over the network: its files are out of sight. */
  | { readonly kind: "elsewhere" };

/** The networks of an engine. */
export interface Networks {
  /**
   * Makes a bridge network. ALREADY_EXISTS when there is one of this name (two calls at once may both succeed: callers
   * take turns); RESOURCE_EXHAUSTED when the engine has no addresses left for one more.
   */
  create(spec: NetworkFacts, signal: AbortSignal): Promise<void>;
  /** By its name alone: the engine's ids are not taken for names. */
  get(name: string, signal: AbortSignal): Promise<NetworkFacts | undefined>;
  /** Those that carry all of these labels. */
  list(labels: Readonly<Record<string, string>>, signal: AbortSignal): Promise<readonly NetworkFacts[]>;
  /** Whatever is still connected to it is disconnected. One that is gone is no error. */
  remove(name: string, signal: AbortSignal): Promise<void>;
}

export interface NetworkFacts {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** The named volumes of an engine. */
export interface Volumes {
  /** One of this name that is there stays as it is; its facts tell whose it is. */
  create(spec: VolumeFacts, signal: AbortSignal): Promise<VolumeFacts>;
  /** Those that carry all of these labels. */
  list(labels: Readonly<Record<string, string>>, signal: AbortSignal): Promise<readonly VolumeFacts[]>;
  /** One that is gone is no error; one that a container has is FAILED_PRECONDITION. */
  remove(name: string, signal: AbortSignal): Promise<void>;
}

export interface VolumeFacts {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** A container that has a port of the host. */
export interface PortHolder {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
}
