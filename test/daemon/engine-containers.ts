import { callEngine } from "../../scripts/engine-api.ts";

/** A container of the engine, as its own list has it. */
export interface EngineContainer {
  readonly Id: string;
  readonly State: string;
  readonly Labels: Readonly<Record<string, string>>;
}

/** What the engine has of a session, asked without the server. */
export async function engineContainers(
  dockerHost: string,
  sessionId: string,
): Promise<readonly EngineContainer[]> {
  const filters = encodeURIComponent(JSON.stringify({ label: [`baaaht.session=${sessionId}`] }));
  const answer = await callEngine(dockerHost, `/containers/json?all=1&filters=${filters}`);
  return (await answer.json()) as readonly EngineContainer[]; // by the engine's API
}

/** Removes them when it is disposed, also after a test that has failed. */
export function cleared(dockerHost: string, sessionId: () => string): AsyncDisposable {
  return {
    [Symbol.asyncDispose]: async () => {
      if (sessionId() === "") return;
      for (const { Id } of await engineContainers(dockerHost, sessionId())) {
        await callEngine(dockerHost, `/containers/${Id}?force=1&v=1`, { method: "DELETE" });
      }
    },
  };
}
