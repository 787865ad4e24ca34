/** What the build test compiles: every trap of a compiled executable in one small program. */
import { Server } from "@grpc/grpc-js";
import Docker from "dockerode";
import { createLog } from "../../src/daemon/log.ts";
import { openServiceNotice } from "../../src/daemon/systemd.ts";
import { commit, date, version } from "../../src/version.ts";

function failDeepInside(): never {
  throw new Error("on purpose");
}

if (process.argv[2] === "fail") failDeepInside();

// The C library is opened by a path that is found at run time.
const log = createLog({ level: "warn", format: "json", write: (line) => void process.stderr.write(line) });
using notice = openServiceNotice({ env: process.env, log });
notice.ready("compiled");

// Top-level await is what bytecode in the cjs format can't do.
const facts = await Promise.resolve({
  version,
  commit,
  date,
  planted: process.env.PLANTED ?? "",
  preloaded: "preloaded" in globalThis,
  grpc: typeof Server,
  docker: typeof new Docker({ host: "127.0.0.1", port: 1 }).listContainers,
  folder: import.meta.dir,
});
process.stdout.write(`${JSON.stringify(facts)}\n`);
