import type { Client } from "../../src/client/client.ts";
import type { Container, Message, Session } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";

/** All sessions, and the cursor that the last page is true for. */
export async function allSessions(
  client: Client,
): Promise<{ readonly rows: Session[]; readonly cursor: string }> {
  const rows: Session[] = [];
  for (let pageToken = ""; ; ) {
    const page = await client.orchestrator.listSessions({ pageToken });
    rows.push(...page.sessions);
    pageToken = page.nextPageToken;
    if (pageToken === "") return { rows, cursor: page.cursor };
  }
}

/** All messages of a session, the oldest first, and how many the server says there are. */
export async function allMessages(
  client: Client,
  sessionId: string,
): Promise<{ readonly rows: Message[]; readonly total: number }> {
  const rows: Message[] = [];
  for (let pageToken = ""; ; ) {
    const page = await client.orchestrator.listMessages({ sessionId, pageToken });
    rows.push(...page.messages);
    pageToken = page.nextPageToken;
    if (pageToken === "") return { rows, total: page.totalCount };
  }
}

export async function allContainers(client: Client): Promise<Container[]> {
  const rows: Container[] = [];
  for (let pageToken = ""; ; ) {
    const page = await client.orchestrator.listContainers({ pageToken });
    rows.push(...page.containers);
    pageToken = page.nextPageToken;
    if (pageToken === "") return rows;
  }
}
