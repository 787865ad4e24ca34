import { expect, test } from "bun:test";
import { engineFailure, plainWords } from "../../../src/runtime/docker/failures.ts";

const AT = { doing: 'start container "4f1c"', endpoint: "unix:///engine.sock" };
const refusal = (statusCode: number, message: string): Error =>
  Object.assign(new Error(`(HTTP code ${statusCode}) unexpected - ${message} `), {
    statusCode,
    json: { message },
  });

test("plainWords() keeps the words that tell what is wrong", () => {
  const chain =
    "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: " +
    'error during container init: exec: "x": executable file not found in $PATH: unknown';
  expect(plainWords(chain)).toBe('exec: "x": executable file not found in $PATH');
  const old =
    'OCI runtime create failed: container_linux.go:380: starting container process caused: exec: "x": denied: unknown';
  expect(plainWords(old)).toBe('exec: "x": denied');
  const copy =
    'error during bulk transfer for copier.request{Root:"/", Rename:map[string]string(nil), RemoveOptions:{All:false}}: ' +
    'copier: put: error creating "/tmp/x": copier: put: error creating file at "/tmp/x": open /tmp/x: file exists';
  expect(plainWords(copy)).toBe("open /tmp/x: file exists");
  expect(plainWords("Container 1f is paused")).toBe("Container 1f is paused");
  expect(plainWords(`No such container: ${"ab".repeat(32)}`)).toBe("No such container: abababababab");
});

test("engineFailure() maps what the engine refuses", () => {
  const kind = (status: number, words: string): string => engineFailure(refusal(status, words), AT).kind;
  expect(kind(400, "bad parameter")).toBe("invalid_argument");
  expect(kind(404, "No such container: x")).toBe("not_found");
  expect(kind(409, "Container x is paused")).toBe("failed_precondition");
  expect(kind(403, "authorization denied by plugin")).toBe("failed_precondition");
  expect(kind(500, "Container x is not running")).toBe("failed_precondition");
  expect(kind(500, "write /var/lib/docker: no space left on device")).toBe("resource_exhausted");
  expect(kind(500, "something broke")).toBe("unavailable");
  expect(kind(503, "starting up")).toBe("unavailable");
  expect(engineFailure(refusal(404, ""), AT).message).toBe(
    'Cannot start container "4f1c": the engine gives no reason (404)',
  );
  expect(engineFailure(refusal(409, "name taken"), AT, { kinds: { 409: "already_exists" } }).kind).toBe(
    "already_exists",
  );
});

test("engineFailure() names the endpoint and why it can't be reached", () => {
  const why = (code: string): string =>
    engineFailure(Object.assign(new Error("connect"), { code }), AT).message;
  const start = 'Cannot start container "4f1c": the container engine at unix:///engine.sock can\'t be used: ';
  expect(why("ENOENT")).toBe(`${start}there is no such socket (ENOENT)`);
  expect(why("ECONNREFUSED")).toBe(`${start}nothing listens there (ECONNREFUSED)`);
  expect(why("EACCES")).toBe(`${start}this process may not open it (EACCES)`);
  expect(why("ECONNRESET")).toBe(`${start}it hung up (ECONNRESET)`);
  const { kind, details } = engineFailure(new Error("odd"), AT);
  expect(kind).toBe("unavailable");
  expect(details).toMatchObject({
    reason: "RUNTIME_UNAVAILABLE",
    metadata: { endpoint: "unix:///engine.sock" },
  });
});
