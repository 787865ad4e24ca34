import { beforeAll, expect, test } from "bun:test";
import { callEngine } from "../../scripts/engine-api.ts";
import { ensureImage } from "../../scripts/image.ts";
import { engine, type TestEngine } from "../engine.ts";

const SET_UP_MS = 600_000;
let on: TestEngine;

beforeAll(async () => {
  on = await engine();
}, SET_UP_MS);

/** Runs a command in a container and gives its output and exit code. */
async function run(image: string, command: readonly string[], hostConfig: object): Promise<[string, number]> {
  const body = { Image: image, Cmd: command, Tty: true, User: "app", HostConfig: hostConfig };
  const { Id } = await call<{ Id: string }>("/containers/create", body);
  try {
    await callEngine(on.dockerHost, `/containers/${Id}/start`, { method: "POST" });
    const { StatusCode } = await call<{ StatusCode: number }>(`/containers/${Id}/wait`, {});
    const logs = await callEngine(on.dockerHost, `/containers/${Id}/logs?stdout=1&stderr=1`);
    return [await logs.text(), StatusCode];
  } finally {
    await callEngine(on.dockerHost, `/containers/${Id}?force=1`, { method: "DELETE" });
  }
}

async function call<T>(path: string, body: Record<string, unknown>): Promise<T> {
  const answer = await callEngine(on.dockerHost, path, { method: "POST", body });
  expect(answer.ok).toBe(true);
  // The engine's documented answer, of which one field is read.
  return (await answer.json()) as T;
}

const HARDENED = {
  NetworkMode: "none",
  Memory: 64 * 1024 * 1024,
  PidsLimit: 32,
  CapDrop: ["ALL"],
  SecurityOpt: ["no-new-privileges"],
};

test("ensureImage() makes an image that runs a shell as app in a hardened container", async () => {
  const [output, code] = await run(on.image, ["sh", "-c", "id -un; ls -d /tmp/; exit 3"], HARDENED);
  expect(output).toBe("app\r\n/tmp/\r\n");
  expect(code).toBe(3);
});

test("ensureImage() imports the same image once", async () => {
  const said: string[] = [];
  await ensureImage(on.dockerHost, "busybox", (line) => said.push(line));
  expect(said).toEqual([]);
});

test(
  "ensureImage() makes a python image that runs its standard library",
  async () => {
    const program = "import json, sqlite3, ssl, sys; print(json.dumps({'hello': sys.version_info[0]}))";
    const [output, code] = await run(await on.imageOf("python"), ["python3", "-c", program], HARDENED);
    expect(output).toBe('{"hello": 3}\r\n');
    expect(code).toBe(0);
  },
  SET_UP_MS,
);
