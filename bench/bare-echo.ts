import { readFileSync } from "node:fs";
import { Server, ServerCredentials } from "@grpc/grpc-js";

// The bare thing beside GetSession, compiled as the server is: grpc-js on Bun that answers each call of one method with
// the same bytes. Words: the method's path, a socket's path, a file with the answer.

const [method = "", socketPath = "", answerFile = ""] = process.argv.slice(2);
const answer = readFileSync(answerFile);
const asItIs = (bytes: Buffer) => bytes;
const server = new Server();
server.register(
  method,
  (_call: unknown, done: (error: null, bytes: Buffer) => void) => done(null, answer),
  asItIs,
  asItIs,
  "unary",
);
server.bindAsync(`unix:${socketPath}`, ServerCredentials.createInsecure(), (error) => {
  if (error !== null) throw error;
  process.stdout.write("ready\n");
});
