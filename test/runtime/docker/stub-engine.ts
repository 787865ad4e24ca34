import { mkdtempSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface StubAnswer {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array;
}

/** Something that speaks as engines do that are not here: each path has its answer, says one each time, or never answers. */
export async function stubEngine(
  answers: Readonly<Record<string, StubAnswer | "never" | (() => StubAnswer)>>,
): Promise<AsyncDisposable & { readonly dockerHost: string }> {
  const path = join(mkdtempSync(join(tmpdir(), "baaaht-stub-")), "engine.sock");
  const server = createServer((request, response) => {
    const found = answers[request.url?.split("?")[0] ?? ""] ?? {
      status: 404,
      body: '{"message":"page not found"}',
    };
    if (found === "never") return;
    const answer = typeof found === "function" ? found() : found;
    response.writeHead(answer.status ?? 200, answer.headers);
    response.end(answer.body);
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return {
    dockerHost: `unix://${path}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
