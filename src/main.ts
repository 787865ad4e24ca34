import { runCli } from "./cli/run-cli.ts";
import { processShell } from "./cli/shell.ts";
import { daemonForCli } from "./daemon-for-cli.ts";

process.exit(await runCli(process.argv.slice(2), processShell(daemonForCli)));
