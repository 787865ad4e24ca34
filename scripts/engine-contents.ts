import { callEngine } from "./engine-api.ts";

/** So that the engine has nothing to wait for and leaves no interface behind. What is in a private engine is ours. */
export async function removeContents(host: string): Promise<void> {
  try {
    await Promise.all(
      (await ids(host, "/containers/json?all=1")).map((id) => remove(host, `/containers/${id}?force=1&v=1`)),
    );
    await Promise.all(
      (await ids(host, `/networks?filters={"type":["custom"]}`)).map((id) => remove(host, `/networks/${id}`)),
    );
  } catch {
    // An engine that does not answer is ended all the same.
  }
}

async function ids(host: string, path: string): Promise<string[]> {
  const listed = await callEngine(host, path);
  // The engine's own list: an array of objects with an Id.
  return ((await listed.json()) as { readonly Id: string }[]).map(({ Id }) => Id);
}

async function remove(host: string, path: string): Promise<void> {
  await callEngine(host, path, { method: "DELETE" });
}
