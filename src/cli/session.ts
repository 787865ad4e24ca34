import type { MessageInitShape } from "@bufbuild/protobuf";
import { Failure } from "../failure.ts";
import {
  CloseSessionResponseSchema,
  ListSessionsResponseSchema,
  SessionSchema,
  SessionStateSchema,
  type UpdateSessionRequestSchema,
} from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";
import { cell, stateCell } from "./cell.ts";
import { clientCommand } from "./client-command.ts";
import { group, word } from "./command.ts";
import { EXIT_CODES } from "./exit-codes.ts";
import { findSessionId } from "./find-id.ts";
import { anyText, choice, int, pairs, problem, text, toggle } from "./flag.ts";
import { readPages } from "./pages.ts";
import { jsonOf } from "./proto-json.ts";
import { configOf, metadataOf, sessionConfigFlags, sessionMetadataFlags } from "./session-flags.ts";
import { sessionColumns, sessionRecord } from "./session-view.ts";
import { enumNumber, enumWord, enumWords } from "./words.ts";

export const session = word({
  about: "the session: its id, the beginning of it, or its name",
  completes: "session",
});

const createSession = clientCommand({
  name: "create",
  summary: "open a session",
  words: {},
  flags: {
    ...sessionMetadataFlags,
    ...sessionConfigFlags,
    idempotencyKey: text({
      about: "makes a repetition harmless: the same key gives the same session",
      placeholder: "KEY",
    }),
  },
  examples: [
    {
      about: "a session that is closed after an hour without use",
      line: "baaaht session create --name build --idle-timeout 1h",
    },
    {
      about: "whose containers have a network of their own, and a folder of the host",
      line: "baaaht session create --name web --allow-network --allow-path ./site",
    },
    {
      about: "whose containers wait until somebody has looked at them",
      line: "baaaht session create --name careful --require-approval",
    },
    { about: "its id alone, for a script", line: "id=$(baaaht session create --quiet --label team=search)" },
    {
      about: "at most two containers of half a core each",
      line: "baaaht session create --max-containers 2 --cpus 0.5 --memory 256m",
    },
  ],
  run: async ({ client, flags, print }) => {
    const created = await client.orchestrator.createSession({
      metadata: metadataOf(flags),
      config: configOf(flags),
      idempotencyKey: flags.idempotencyKey ?? "",
    });
    await print.record(sessionRecord(required(created.session), print.times));
    return EXIT_CODES.ok;
  },
});

const getSession = clientCommand({
  name: "get",
  summary: "show a session",
  words: { session },
  flags: {
    messages: int({
      about: "how many of the newest messages come along in JSON and YAML (default 100)",
      max: 1000,
    }),
  },
  examples: [
    { about: "a session by the beginning of its id", line: "baaaht session get 0192f3a4" },
    { about: "its state alone", line: "baaaht session get build -o json | jq -r .state" },
  ],
  run: async ({ client, flags, words, print }) => {
    const sessionId = await findSessionId(client, words.session);
    const got = await client.orchestrator.getSession({ sessionId, messageLimit: flags.messages ?? 0 });
    await print.record(sessionRecord(required(got.session), print.times));
    return EXIT_CODES.ok;
  },
});

const STATES = enumWords(SessionStateSchema);

const listSessions = clientCommand({
  name: "list",
  summary: "list sessions, newest first",
  words: {},
  flags: {
    state: choice({ about: "in this state", choices: STATES, placeholder: "STATE" }),
    owner: text({ about: "of this owner" }),
    label: pairs({ about: "with this label", short: "l" }),
    limit: int({ about: "how many at most (default all)", min: 1 }),
  },
  examples: [
    { about: "sessions in use", line: "baaaht session list --state active" },
    {
      about: "close all of a team",
      line: "baaaht session list -q -l team=search --state active | xargs -n1 baaaht session close",
    },
  ],
  run: async ({ client, flags, print }) => {
    const filter = {
      state: enumNumber(SessionStateSchema, flags.state),
      ownerId: flags.owner ?? "",
      labels: flags.label,
    };
    const page = await readPages(flags.limit, async (request) => {
      const { sessions: items, ...rest } = await client.orchestrator.listSessions({ ...request, filter });
      return { ...rest, items };
    });
    const { items: sessions, ...rest } = page;
    await print.list({
      items: sessions,
      columns: sessionColumns(print.times),
      id: ({ id }) => id,
      itemValue: (one) => jsonOf(SessionSchema, one),
      value: () => jsonOf(ListSessionsResponseSchema, { ...rest, sessions: [...sessions] }),
    });
    return EXIT_CODES.ok;
  },
});

const updateSession = clientCommand({
  name: "update",
  summary: "change a session",
  description:
    "Changes what is named and leaves the rest. Labels, tags and lists replace those that were there.",
  words: { session },
  flags: {
    ...sessionMetadataFlags,
    ...sessionConfigFlags,
    timezone: text({ about: "the user's time zone, such as Europe/Berlin" }),
    language: text({ about: "the user's language, such as de-CH" }),
    theme: text({ about: "what the user likes to look at" }),
    notifications: toggle({ about: "the user wants to be told" }),
  },
  examples: [
    {
      about: "another name and description",
      line: 'baaaht session update build --name nightly --description "at 3 am"',
    },
    { about: "more time", line: "baaaht session update 0192f3a4 --idle-timeout 4h" },
  ],
  run: async ({ client, flags, words, given, print }) => {
    if (![...given].some((name) => CHANGES.has(name)))
      throw problem("nothing to change: name at least one thing, see --help");
    const sessionId = await findSessionId(client, words.session);
    const { timezone = "", language = "", theme = "", notifications } = flags;
    const hasPreferences = ["timezone", "language", "theme", "notifications"].some((name) => given.has(name));
    const context: MessageInitShape<typeof UpdateSessionRequestSchema>["context"] = {
      config: configOf(flags),
      preferences: hasPreferences ? { timezone, language, theme, notifications } : undefined,
    };
    const updated = await client.orchestrator.updateSession({
      sessionId,
      metadata: metadataOf(flags),
      context,
    });
    await print.record(sessionRecord(required(updated.session), print.times));
    return EXIT_CODES.ok;
  },
});

const CHANGES = new Set([
  ...Object.keys(sessionMetadataFlags),
  ...Object.keys(sessionConfigFlags),
  "timezone",
  "language",
  "theme",
  "notifications",
]);

const closeSession = clientCommand({
  name: "close",
  summary: "end a session with its containers, streams and tasks",
  description: "Closing a closed session changes nothing.",
  words: { session },
  flags: {
    reason: anyText({ about: "why, for people; kept with the session and in the log", short: "r" }),
    abandon: toggle({ about: "let go of containers that the engine can't remove now; it does so later" }),
  },
  callTimeoutMs: 60_000,
  examples: [
    { about: "with a reason", line: 'baaaht session close build --reason "done for today"' },
    {
      about: "one that stays closing because its engine is gone",
      line: "baaaht session close build --abandon",
    },
  ],
  run: async ({ client, flags, words, print }) => {
    const sessionId = await findSessionId(client, words.session);
    const { reason = "", abandon } = flags;
    const closed = await client.orchestrator.closeSession({ sessionId, reason, abandon });
    await print.record({
      id: closed.sessionId,
      value: () => jsonOf(CloseSessionResponseSchema, closed),
      rows: () => [
        ["ID", cell(closed.sessionId)],
        ["State", stateCell(enumWord(SessionStateSchema, closed.state))],
      ],
    });
    return EXIT_CODES.ok;
  },
});

export const sessionGroup = group({
  name: "session",
  summary: "create, list, get, update and close sessions",
  commands: [createSession, listSessions, getSession, updateSession, closeSession],
});

function required<T>(part: T | undefined): T {
  if (part === undefined)
    throw new Failure("internal", "Cannot read the server's answer: it has no session in it");
  return part;
}
