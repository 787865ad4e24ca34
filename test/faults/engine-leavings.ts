import { callEngine } from "../../scripts/engine-api.ts";

/** What the engine has of an install: its containers, networks and volumes, by name. */
export async function engineLeavings(dockerHost: string, install: string): Promise<readonly string[]> {
  const filters = `filters=${encodeURIComponent(JSON.stringify({ label: [`baaaht.install=${install}`] }))}`;
  const read = async (path: string) => (await callEngine(dockerHost, path)).json();
  const [containers, networks, volumes] = await Promise.all([
    read(`/containers/json?all=1&${filters}`),
    read(`/networks?${filters}`),
    read(`/volumes?${filters}`),
  ]);
  // By the engine's API: lists of what has names.
  const named = (networks ?? []) as readonly { readonly Name: string }[];
  const stored = (volumes as { readonly Volumes: readonly { readonly Name: string }[] | null }).Volumes ?? [];
  const made = containers as readonly { readonly Names: readonly string[]; readonly State: string }[];
  return [
    ...made.map(({ Names, State }) => `container ${Names[0]} (${State})`),
    ...named.map(({ Name }) => `network ${Name}`),
    ...stored.map(({ Name }) => `volume ${Name}`),
  ];
}
