import type { Client } from "../client/client.ts";
import { Failure } from "../failure.ts";
import { AgentState } from "../gen/proto/agent/v1/agent_pb.ts";
import { GatewaySessionState } from "../gen/proto/gateway/v1/gateway_pb.ts";
import { type Session, SessionState } from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { MAX_PAGE_SIZE, type Page, type PageRequest } from "./pages.ts";

/**
 * The id of the session that `word` means: a whole id, the beginning of one, or a name; of several with the name, the one
 * that is open. A whole id costs no call; everything else at most `MAX_LOOKED_AT` entries of a listing.
 */
export async function findSessionId(client: Client, word: string): Promise<string> {
  if (isWholeId(word)) return word;
  const wanted = { noun: "session", word };
  if (!mayBeginId(word)) {
    // Open ones are few beside those that are kept closed, and one of them is meant if it has the name.
    const looks = OPEN_STATES.map((state) => lookThrough(sessionsOf(client, state), word));
    const open = together(await Promise.all(looks));
    if (open.named.length > 0 || !open.isWhole) return theOne(open, wanted);
  }
  return theOne(await lookThrough(sessionsOf(client, SessionState.UNSPECIFIED), word), wanted);
}

/** The same of sessions that user interfaces have opened. */
export async function findGatewaySessionId(client: Client, word: string): Promise<string> {
  if (isWholeId(word)) return word;
  const look = await lookThrough(async (request) => {
    const { sessions, ...page } = await client.gateway.listGatewaySessions(request);
    const items = sessions.map(({ id, metadata, state }) => {
      return { id, name: metadata?.name ?? "", isOpen: state !== GatewaySessionState.CLOSED };
    });
    return { ...page, items };
  }, word);
  return theOne(look, { noun: "gateway session", word });
}

/** The id of the container that `word` means: a whole id, the beginning of one, or its name in the engine. */
export async function findContainerId(client: Client, word: string): Promise<string> {
  if (isWholeId(word)) return word;
  const look = await lookThrough(async (request) => {
    const { containers, ...page } = await client.orchestrator.listContainers(request);
    const items = containers.map(({ id, name, config }) => {
      // It has two: the engine's, and the one that it was given, which is unique in its session alone.
      return { id, name: config?.name === word ? word : name, isOpen: true };
    });
    return { ...page, items };
  }, word);
  return theOne(look, { noun: "container", word });
}

/** The id of the command in a container that `word` means: a whole id, or the beginning of one. */
export async function findExecId(client: Client, word: string): Promise<string> {
  if (isWholeId(word)) return word;
  const look = await lookThrough(async (request) => {
    const { execs, ...page } = await client.orchestrator.listExecs(request);
    return { ...page, items: execs.map(({ id }) => ({ id, name: "", isOpen: true })) };
  }, word);
  return theOne(look, { noun: "command", word });
}

/** The id of the agent that `word` means: a whole id, the beginning of one, or a name; of several with the name, a live one. */
export async function findAgentId(client: Client, word: string): Promise<string> {
  if (isWholeId(word)) return word;
  const look = await lookThrough(async (request) => {
    const { agents, ...page } = await client.agent.listAgents(request);
    const items = agents.map(({ id, name, state }) => ({
      id,
      name,
      isOpen: state !== AgentState.TERMINATED,
    }));
    return { ...page, items };
  }, word);
  return theOne(look, { noun: "agent", word });
}

/** The id of the task that `word` means: a whole id, the beginning of one, or a name; of several with the name, one that has not ended. */
export async function findTaskId(client: Client, word: string): Promise<string> {
  if (isWholeId(word)) return word;
  const look = await lookThrough(async (request) => {
    const { tasks, ...page } = await client.agent.listTasks(request);
    const items = tasks.map(({ id, name, completedAt }) => ({ id, name, isOpen: completedAt === undefined }));
    return { ...page, items };
  }, word);
  return theOne(look, { noun: "task", word });
}

interface Named {
  readonly id: string;
  readonly name: string;
  readonly isOpen: boolean;
}

type ReadPage = (request: PageRequest) => Promise<Page<Named>>;

function sessionsOf(client: Client, state: SessionState): ReadPage {
  return async (request) => {
    const { sessions, ...page } = await client.orchestrator.listSessions({ ...request, filter: { state } });
    return { ...page, items: sessions.map(namedSession) };
  };
}

function namedSession({ id, metadata, state }: Session): Named {
  return { id, name: metadata?.name ?? "", isOpen: state !== SessionState.CLOSED };
}

const OPEN_STATES = [
  SessionState.INITIALIZING,
  SessionState.ACTIVE,
  SessionState.IDLE,
  SessionState.CLOSING,
] as const;

/** A whole id costs no listing; whether there is such a thing is for the server to say. */
function isWholeId(word: string): boolean {
  return word.length >= 36;
}

function mayBeginId(word: string): boolean {
  return /^[\da-f-]+$/i.test(word);
}

/** What a listing has under a word. */
interface Look {
  /** Those whose ids begin with it. */
  readonly begun: readonly Named[];
  readonly named: readonly Named[];
  readonly lookedAt: number;
  readonly total: number;
  /** Whether what was not looked at can't change the answer. */
  readonly isWhole: boolean;
}

/** Reads a listing, whose newest entries, those of the greatest ids, come first, until the answer is clear or enough was read. */
async function lookThrough(read: ReadPage, word: string): Promise<Look> {
  const lower = word.toLowerCase();
  const begun: Named[] = [];
  const named: Named[] = [];
  let lookedAt = 0;
  for (let pageToken = ""; ; ) {
    const { items, nextPageToken, totalCount: total } = await read({ pageSize: MAX_PAGE_SIZE, pageToken });
    lookedAt += items.length;
    begun.push(...items.filter(({ id }) => id.startsWith(lower)));
    named.push(...items.filter(({ name }) => name === word));
    const last = items.at(-1)?.id ?? "";
    const isPast = begun.length > 0 && last < lower;
    const isWhole = nextPageToken === "" || isPast;
    if (isWhole || lookedAt >= MAX_LOOKED_AT) return { begun, named, lookedAt, total, isWhole };
    pageToken = nextPageToken;
  }
}

function together(looks: readonly Look[]): Look {
  return {
    begun: looks.flatMap(({ begun }) => begun),
    named: looks.flatMap(({ named }) => named),
    lookedAt: looks.reduce((sum, { lookedAt }) => sum + lookedAt, 0),
    total: looks.reduce((sum, { total }) => sum + total, 0),
    isWhole: looks.every(({ isWhole }) => isWhole),
  };
}

interface Wanted {
  readonly noun: string;
  readonly word: string;
}

function theOne(look: Look, { noun, word }: Wanted): string {
  const { begun, named, isWhole, lookedAt, total } = look;
  const open = named.filter(({ isOpen }) => isOpen);
  const found = begun.length > 0 ? begun : open.length > 0 ? open : named;
  const [first, ...others] = found;
  const range = `the newest ${lookedAt} of ${total} were looked at; give its whole id`;
  if (first === undefined) {
    const none = "no id begins with it, and none has this name";
    throw new Failure("not_found", `Cannot find ${noun} "${word}": ${isWhole ? none : range}`);
  }
  if (others.length === 0 && isWhole) return first.id;
  const shown = found
    .slice(0, SHOWN_CANDIDATES)
    .map(({ id, name }) => (name === "" ? id : `${id} (${name})`));
  const more = found.length > SHOWN_CANDIDATES ? `, and ${found.length - SHOWN_CANDIDATES} more` : "";
  const unseen = isWhole ? "" : `, or one not seen: ${range}`;
  throw new Failure(
    "invalid_argument",
    `Cannot tell which ${noun} "${word}" is: it may be ${shown.join(", ")}${more}${unseen}`,
  );
}

const SHOWN_CANDIDATES = 8;

/** Of each listing; that many take some tenths of a second. */
const MAX_LOOKED_AT = 5000;
