import type { Client } from "../client/client.ts";
import { Failure } from "../failure.ts";
import { type Session, SessionState } from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { readPages } from "./pages.ts";

/**
 * The id of the session that `word` means: a whole id, the beginning of one, or a name; of several with the name, the one
 * that is open.
 */
export async function findSessionId(client: Client, word: string): Promise<string> {
  if (isWholeId(word)) return word;
  const { items } = await readPages(undefined, async (page) => {
    const { sessions, ...rest } = await client.orchestrator.listSessions(page);
    return { ...rest, items: sessions.map(namedSession) };
  });
  return theOne(items, { noun: "session", word });
}

/** The id of the container that `word` means: a whole id, the beginning of one, or its name in the engine. */
export async function findContainerId(client: Client, word: string): Promise<string> {
  if (isWholeId(word)) return word;
  const { items } = await readPages(undefined, async (page) => {
    const { containers, ...rest } = await client.orchestrator.listContainers(page);
    return { ...rest, items: containers.map(({ id, name }) => ({ id, name, isOpen: true })) };
  });
  return theOne(items, { noun: "container", word });
}

interface Named {
  readonly id: string;
  readonly name: string;
  readonly isOpen: boolean;
}

function namedSession({ id, metadata, state }: Session): Named {
  return { id, name: metadata?.name ?? "", isOpen: state !== SessionState.CLOSED };
}

/** A whole id costs no listing; whether there is such a thing is for the server to say. */
function isWholeId(word: string): boolean {
  return word.length >= 36;
}

function theOne(
  all: readonly Named[],
  { noun, word }: { readonly noun: string; readonly word: string },
): string {
  const lower = word.toLowerCase();
  const begun = word === "" ? [] : all.filter(({ id }) => id.startsWith(lower));
  const named = all.filter(({ name }) => name === word && name !== "");
  const open = named.filter(({ isOpen }) => isOpen);
  const found = begun.length > 0 ? begun : open.length > 0 ? open : named;
  const [first, ...others] = found;
  if (first === undefined) {
    throw new Failure(
      "not_found",
      `Cannot find ${noun} "${word}": no id begins with it, and none has this name`,
    );
  }
  if (others.length === 0) return first.id;
  const shown = found
    .slice(0, SHOWN_CANDIDATES)
    .map(({ id, name }) => (name === "" ? id : `${id} (${name})`));
  const more = found.length > SHOWN_CANDIDATES ? `, and ${found.length - SHOWN_CANDIDATES} more` : "";
  throw new Failure(
    "invalid_argument",
    `Cannot tell which ${noun} "${word}" is: it may be ${shown.join(", ")}${more}`,
  );
}

const SHOWN_CANDIDATES = 8;
