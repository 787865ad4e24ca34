import { Server, ServerCredentials, type ServerWritableStream } from "@grpc/grpc-js";

// The bare thing beside the event stream, compiled as the server is: grpc-js on Bun that writes one same buffer to every
// open stream when a call comes in, and answers it. Words: the two methods' paths, a socket's path, the bytes of each
// event and of the answer.

const [subscribePath = "", sendPath = "", socketPath = "", eventBytes, answerBytes] = process.argv.slice(2);
const event = Buffer.alloc(Number(eventBytes), 1);
const answer = Buffer.alloc(Number(answerBytes), 1);
const streams = new Set<ServerWritableStream<Buffer, Buffer>>();
const asItIs = (bytes: Buffer) => bytes;
const server = new Server();
server.register(
  subscribePath,
  (call: ServerWritableStream<Buffer, Buffer>) => {
    streams.add(call);
    call.sendMetadata(call.metadata);
    call.on("cancelled", () => streams.delete(call));
  },
  asItIs,
  asItIs,
  "serverStream",
);
server.register(
  sendPath,
  (_call: unknown, done: (error: null, bytes: Buffer) => void) => {
    for (const stream of streams) stream.write(event);
    done(null, answer);
  },
  asItIs,
  asItIs,
  "unary",
);
server.bindAsync(`unix:${socketPath}`, ServerCredentials.createInsecure(), (error) => {
  if (error !== null) throw error;
  process.stdout.write("ready\n");
});
