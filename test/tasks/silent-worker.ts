import { connect } from "../../src/client/client.ts";
import { registerWorker } from "./open-task.ts";

// A process with a worker that takes a task and does nothing with it, until it is killed.

const [socketPath = ""] = process.argv.slice(2);
const client = connect({ address: `unix://${socketPath}` });
await client.ready();
process.send?.((await registerWorker(client)).agentId);
