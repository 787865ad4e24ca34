import { Server, ServerCredentials, type ServerDuplexStream } from "@grpc/grpc-js";

// The bare thing beside a turn of chat, compiled as the server is: grpc-js on Bun that sends back each frame of a stream.
// Words: the method's path, a socket's path.

const [path = "", socketPath = ""] = process.argv.slice(2);
const asItIs = (bytes: Buffer) => bytes;
const server = new Server();
server.register(
  path,
  (call: ServerDuplexStream<Buffer, Buffer>) => {
    call.on("data", (frame: Buffer) => call.write(frame));
    call.on("end", () => call.end());
  },
  asItIs,
  asItIs,
  "bidi",
);
server.bindAsync(`unix:${socketPath}`, ServerCredentials.createInsecure(), (error) => {
  if (error !== null) throw error;
  process.stdout.write("ready\n");
});
