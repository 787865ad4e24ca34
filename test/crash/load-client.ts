import { type Client, connect } from "../../src/client/client.ts";
import { MessageRole } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { contentOf, type Entry, type Order, type Report } from "./journal.ts";
import { outcomeOf } from "./outcome.ts";
import { type Random, seeded } from "./random.ts";

// A client process of a crash run: loads the server while it is told to, and reports what each of its calls came to.

const [socketPath = "", name = "", seedText = "0", sendersText = "1"] = process.argv.slice(2);
const random = seeded(Number(seedText));
const client = connect({ address: `unix://${socketPath}`, callTimeoutMs: 20_000, reconnectIntervalMs: 100 });

interface Known {
  readonly id: string;
  revision: number;
  isClosing: boolean;
}

let goesOn = false;
let count = 0;
let entries: Entry[] = [];
let work: Promise<unknown> = Promise.resolve();
const sessions: Known[] = [];

process.on("message", (message: Order) => {
  if (message.order === "go") {
    goesOn = true;
    work = loadUntilTold();
  } else if (message.order === "settle") {
    goesOn = false;
    void settle();
  } else {
    process.exit(0);
  }
});
tell({ report: "ready" });

async function settle(): Promise<void> {
  await work;
  const settled = entries;
  entries = [];
  tell({ report: "settled", entries: settled });
}

function tell(report: Report): void {
  process.send?.(report);
}

async function loadUntilTold(): Promise<void> {
  await createSession(client);
  const senders = Array.from({ length: Number(sendersText) }, (_, at) => send(client, `${name}s${at}`));
  await Promise.all([...senders, createSessions(client), updateSessions(client), closeSessions(client)]);
}

async function createSessions(client: Client): Promise<void> {
  while (goesOn) {
    await createSession(client);
    await Bun.sleep(random.between(5, 60));
  }
}

async function createSession(client: Client): Promise<void> {
  const op = nextOp();
  const key = random.next() < 0.6 ? `key-${op}` : "";
  const outcome = await outcomeOf(
    client.orchestrator
      .createSession({ metadata: { name: op, labels: { op } }, idempotencyKey: key })
      .then(({ sessionId }) => sessionId),
  );
  entries.push({ call: "create_session", op, key, outcome });
  if (outcome.kind === "acknowledged") sessions.push({ id: outcome.id, revision: 0, isClosing: false });
}

/** One message after the other, each to one of the newest sessions. */
async function send(client: Client, sender: string): Promise<void> {
  while (goesOn) {
    const session = random.pick(sessions.slice(-4));
    if (session === undefined) return;
    const op = nextOp();
    const message = { op, sessionId: session.id, sender, ...named(op, random), size: sizeOf(random) };
    const outcome = await outcomeOf(
      client.orchestrator
        .sendMessage({
          sessionId: message.sessionId,
          message: {
            id: message.id,
            role: MessageRole.USER,
            content: contentOf(op, message.size),
            metadata: { extra: { sender } },
          },
          idempotencyKey: message.key,
        })
        .then(({ messageId }) => messageId),
    );
    entries.push({ call: "send_message", ...message, outcome });
  }
}

/** Most messages have an id of their own, some a key, some nothing that tells a repetition. */
function named(op: string, random: Random): { readonly id: string; readonly key: string } {
  const kind = random.next();
  if (kind < 0.7) return { id: `id-${op}`, key: "" };
  return kind < 0.85 ? { id: "", key: `key-${op}` } : { id: "", key: "" };
}

/** Most are short; one in a hundred takes several pages of the database and of its journal. */
function sizeOf(random: Random): number {
  const kind = random.next();
  if (kind < 0.9) return random.between(20, 400);
  return kind < 0.99 ? random.between(1_000, 20_000) : random.between(100_000, 300_000);
}

async function updateSessions(client: Client): Promise<void> {
  while (goesOn) {
    const session = random.pick(sessions.slice(-4));
    if (session !== undefined && !session.isClosing) {
      session.revision += 1;
      const { id, revision } = session;
      const metadata = { description: String(revision) };
      const outcome = await outcomeOf(
        client.orchestrator.updateSession({ sessionId: id, metadata }).then(() => id),
      );
      entries.push({ call: "update_session", sessionId: id, revision, outcome });
    }
    await Bun.sleep(random.between(1, 20));
  }
}

async function closeSessions(client: Client): Promise<void> {
  while (goesOn) {
    await Bun.sleep(random.between(20, 120));
    const session = sessions.length > 6 ? random.pick(sessions.slice(-6)) : undefined;
    if (session === undefined || session.isClosing) continue;
    session.isClosing = true;
    const reason = `closed by ${name}`;
    const outcome = await outcomeOf(
      client.orchestrator.closeSession({ sessionId: session.id, reason }).then(({ sessionId }) => sessionId),
    );
    entries.push({ call: "close_session", sessionId: session.id, reason, outcome });
    sessions.splice(sessions.indexOf(session), 1);
  }
}

function nextOp(): string {
  count += 1;
  return `${name}-${count}`;
}
