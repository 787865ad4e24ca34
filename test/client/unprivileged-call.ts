import { connect } from "../../src/client/client.ts";
import { thrown } from "./thrown.ts";

/** A process that gives up root if it has it, calls the server on its argument's socket, and prints what that throws. */
const [address = ""] = process.argv.slice(2);

if (process.getuid?.() === 0) process.setuid?.(65_534);
await using client = connect({ address });
const { kind, message, details } = await thrown(() => client.ready());
process.stdout.write(JSON.stringify({ kind, message, reason: details.reason }));
