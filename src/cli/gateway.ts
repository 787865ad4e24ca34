import { Failure } from "../failure.ts";
import {
  CloseGatewaySessionResponseSchema,
  GatewaySessionSchema,
  GatewaySessionStateSchema,
  ListGatewaySessionsResponseSchema,
} from "../gen/proto/gateway/v1/gateway_pb.ts";
import { cell, stateCell } from "./cell.ts";
import { clientCommand } from "./client-command.ts";
import { type Group, group, word } from "./command.ts";
import { EXIT_CODES } from "./exit-codes.ts";
import { findGatewaySessionId } from "./find-id.ts";
import { anyText, choice, int, pairs, text } from "./flag.ts";
import { gatewayColumns, gatewayRecord } from "./gateway-view.ts";
import { readPages } from "./pages.ts";
import { jsonOf } from "./proto-json.ts";
import { enumNumber, enumWord, enumWords } from "./words.ts";

const session = word({
  about: "the gateway session: its id, the beginning of it, or its name",
  completes: "session",
});

const listSessions = clientCommand({
  name: "list",
  summary: "list the sessions that user interfaces have opened, newest first",
  words: {},
  flags: {
    state: choice({
      about: "in this state",
      choices: enumWords(GatewaySessionStateSchema),
      placeholder: "STATE",
    }),
    user: text({ about: "of this user" }),
    label: pairs({ about: "with this label", short: "l" }),
    limit: int({ about: "how many at most (default all)", min: 1 }),
  },
  examples: [
    { about: "those in use", line: "baaaht gateway session list --state active" },
    {
      about: "close all of a user",
      line: "baaaht gateway session list -q --user u1 --state active | xargs -n1 baaaht gateway session close",
    },
  ],
  run: async ({ client, flags, print }) => {
    const filter = {
      state: enumNumber(GatewaySessionStateSchema, flags.state),
      userId: flags.user ?? "",
      labels: flags.label,
    };
    const { items: sessions, ...rest } = await readPages(flags.limit, async (request) => {
      const { sessions: items, ...page } = await client.gateway.listGatewaySessions({ ...request, filter });
      return { ...page, items };
    });
    await print.list({
      items: sessions,
      columns: gatewayColumns(print.times),
      id: ({ id }) => id,
      itemValue: (one) => jsonOf(GatewaySessionSchema, one),
      value: () => jsonOf(ListGatewaySessionsResponseSchema, { ...rest, sessions: [...sessions] }),
    });
    return EXIT_CODES.ok;
  },
});

const getSession = clientCommand({
  name: "get",
  summary: "show a session that a user interface has opened",
  words: { session },
  flags: {},
  examples: [{ about: "by the beginning of its id", line: "baaaht gateway session get 0192f3a4" }],
  run: async ({ client, words, print }) => {
    const sessionId = await findGatewaySessionId(client, words.session);
    const got = await client.gateway.getGatewaySession({ sessionId });
    if (got.session === undefined)
      throw new Failure("internal", "Cannot read the server's answer: it has no session in it");
    await print.record(gatewayRecord(got.session, print.times));
    return EXIT_CODES.ok;
  },
});

const closeSession = clientCommand({
  name: "close",
  summary: "end a session that a user interface has opened, and the session behind it",
  description: "Closing a closed session changes nothing.",
  words: { session },
  flags: { reason: anyText({ about: "why, for people; kept with the session and in the log", short: "r" }) },
  callTimeoutMs: 60_000,
  examples: [{ about: "with a reason", line: 'baaaht gateway session close web --reason "idle"' }],
  run: async ({ client, flags, words, print }) => {
    const sessionId = await findGatewaySessionId(client, words.session);
    const closed = await client.gateway.closeGatewaySession({ sessionId, reason: flags.reason ?? "" });
    await print.record({
      id: closed.sessionId,
      value: () => jsonOf(CloseGatewaySessionResponseSchema, closed),
      rows: () => [
        ["ID", cell(closed.sessionId)],
        ["State", stateCell(enumWord(GatewaySessionStateSchema, closed.state))],
      ],
    });
    return EXIT_CODES.ok;
  },
});

const sessionSummary = "list, get and close the sessions of user interfaces";

const sessionGroup = group({
  name: "session",
  summary: sessionSummary,
  commands: [listSessions, getSession, closeSession],
});

export const gatewayGroup: Group = {
  kind: "group",
  name: "gateway",
  summary: "look after the sessions of user interfaces",
  entries: [{ name: "session", summary: sessionSummary, load: () => Promise.resolve(sessionGroup) }],
};
