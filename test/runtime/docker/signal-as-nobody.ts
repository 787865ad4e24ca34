import { connectDocker } from "../../../src/runtime/docker/docker.ts";
import type { RuntimeId } from "../../../src/runtime/runtime.ts";
import { readUntil, soon } from "../../contract/runtime-subject.ts";

/** A program of a test: signals a command of root's in a container while it is itself nobody. */
const [, , dockerHost = "", id = ""] = process.argv;
process.setgid?.(65534);
process.setuid?.(65534);
await using runtime = connectDocker({ dockerHost });
const command = ["sh", "-c", "trap 'echo caught; exit 0' TERM; echo ready; while :; do sleep 0.05; done"];
const spec = { command, env: {}, workingDir: "", user: "root", tty: false, stdin: false };
// as: the test hands over the id of a container that it made
await using exec = await runtime.exec(id as RuntimeId, spec, soon());
const output = exec.output[Symbol.asyncIterator]();
await readUntil(output, "ready\n");
await exec.signal("TERM", soon());
await readUntil(output, "caught\n");
process.stdout.write(`caught by ${process.getuid?.()}\n`);
