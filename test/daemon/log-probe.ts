/** A process that logs in the way that its argument says; the log test runs it to watch its stderr from outside. */
import { createLog } from "../../src/daemon/log.ts";
import { LogOutput } from "../../src/daemon/log-output.ts";

const output = new LogOutput(2, { dropped: (lines) => `{"message":"dropped","lines":${lines}}\n` });
const log = createLog({ level: "info", format: "json", write: (line) => output.write(line) });

switch (process.argv[2]) {
  case "exit":
    for (let n = 0; n < 1_000; n++) log.info("line", { n });
    process.exit(7);
    break;
  case "exit late":
    log.info("first");
    await Bun.sleep(1_000); // longer than a write may take
    log.info("last");
    process.exit(7);
    break;
  case "dispose":
    for (let n = 0; n < 1_000; n++) {
      log.info("line", { n });
      if (n % 100 === 0) await Bun.sleep(0);
    }
    await output[Symbol.asyncDispose]();
    process.kill(process.pid, "SIGKILL");
    break;
  case "flood":
    // Three times what waits at most, to a reader that comes late or never.
    for (let n = 0; n < 12_288; n++) log.info("line", { n, text: "x".repeat(1_000) });
    await new Promise(setImmediate);
    process.stdout.write("still here\n");
    for await (const _ of Bun.stdin.stream());
    log.info("the end");
    await output[Symbol.asyncDispose]();
    process.exit(0);
}
