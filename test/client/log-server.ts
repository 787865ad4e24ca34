import { serveRaw } from "./grpc-server.ts";

/**
 * A process that serves a log on the socket named by its first argument until it is killed: event n has the cursor `c<n>`,
 * and n goes up by one each millisecond since the epoch in its second argument, over restarts too.
 *
 * Its third argument, if any, is the number of events after which a subscription ends as one that does not read.
 */
const [path = "", epoch = "", most = "Infinity"] = process.argv.slice(2);

await serveRaw(
  {
    subscribeEvents: (call) => {
      const { resumeAfter, fromStart } = call.request;
      let position = resumeAfter === "" ? (fromStart ? 0 : tail()) : Number(resumeAfter.slice(1));
      let sent = 0;
      call.metadata.set("x-baaaht-cursor", `c${position}`);
      call.sendMetadata(call.metadata);
      const timer = setInterval(() => {
        for (; position < tail() && sent < Number(most); sent += 1) {
          position += 1;
          call.write({ id: String(position), cursor: `c${position}` });
        }
        if (sent >= Number(most)) stop();
      }, 1);
      const stop = () => {
        clearInterval(timer);
        call.emit("error", { code: 14, details: "cut" });
      };
      call.on("cancelled", () => clearInterval(timer));
    },
  },
  { path },
);
process.stdout.write("serving\n");

function tail(): number {
  return Date.now() - Number(epoch);
}
