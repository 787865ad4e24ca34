/** The steps from an empty file to the present shape. A step that has been released is never changed: add the next one. */
export const migrations: readonly string[] = [
  `
  CREATE TABLE meta ("key" TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;

  CREATE TABLE counters ("key" TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;

  CREATE TABLE events (
    position INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    type TEXT NOT NULL,
    source TEXT NOT NULL,
    priority TEXT NOT NULL,
    sessionId TEXT,
    containerId TEXT,
    taskId TEXT,
    agentId TEXT,
    labels TEXT,
    startsAt INTEGER NOT NULL,
    body TEXT NOT NULL
  ) STRICT;
  CREATE INDEX events_at ON events (at);

  CREATE TABLE sessions (
    "key" TEXT PRIMARY KEY,
    body TEXT NOT NULL,
    labels TEXT,
    state TEXT NOT NULL,
    ownerId TEXT NOT NULL,
    closedAt INTEGER
  ) STRICT;
  CREATE INDEX sessions_state ON sessions (state, "key");
  CREATE INDEX sessions_owner ON sessions (ownerId, "key");
  CREATE INDEX sessions_closed ON sessions (closedAt) WHERE closedAt IS NOT NULL;

  CREATE TABLE activities (
    "key" TEXT PRIMARY KEY,
    body TEXT NOT NULL,
    dueAt INTEGER
  ) STRICT;
  CREATE INDEX activities_due ON activities (dueAt) WHERE dueAt IS NOT NULL;

  CREATE TABLE messages (
    "key" TEXT PRIMARY KEY,
    body TEXT NOT NULL,
    sessionId TEXT NOT NULL,
    ordinal INTEGER NOT NULL
  ) STRICT;
  CREATE UNIQUE INDEX messages_ordinal ON messages (sessionId, ordinal, "key");

  CREATE TABLE containers (
    "key" TEXT PRIMARY KEY,
    body TEXT NOT NULL,
    labels TEXT,
    sessionId TEXT NOT NULL,
    state TEXT NOT NULL
  ) STRICT;
  CREATE INDEX containers_session ON containers (sessionId, "key");

  CREATE TABLE execs ("key" TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;

  CREATE TABLE answers (
    "key" TEXT PRIMARY KEY,
    body TEXT NOT NULL,
    expiresAt INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX answers_expiry ON answers (expiresAt);
  `,
  // Commands that have ended stay for a while, and are listed.
  `
  ALTER TABLE execs RENAME TO open_execs;
  CREATE TABLE execs (
    "key" TEXT PRIMARY KEY,
    body TEXT NOT NULL,
    containerId TEXT NOT NULL,
    sessionId TEXT NOT NULL,
    state TEXT NOT NULL,
    endedAt INTEGER
  ) STRICT;
  CREATE INDEX execs_state ON execs (state, "key");
  CREATE INDEX execs_ended ON execs (endedAt) WHERE endedAt IS NOT NULL;
  INSERT INTO execs ("key", body, containerId, sessionId, state)
    SELECT
      "key",
      json_set(
        body,
        '$.tty', json('false'), '$.stdin', json('false'), '$.onDisconnect', 'kill', '$.life', json('{"state":"running"}')
      ),
      json_extract(body, '$.containerId'),
      json_extract(body, '$.sessionId'),
      'running'
    FROM open_execs;
  DROP TABLE open_execs;
  `,
  // Agents.
  `
  CREATE TABLE agents (
    "key" TEXT PRIMARY KEY,
    body TEXT NOT NULL,
    labels TEXT,
    state TEXT NOT NULL,
    type TEXT NOT NULL,
    endedAt INTEGER
  ) STRICT;
  CREATE INDEX agents_state ON agents (state, "key");
  CREATE INDEX agents_ended ON agents (endedAt) WHERE endedAt IS NOT NULL;
  `,
  // Chat: who answers which question, and the sessions that user interfaces see.
  `
  CREATE TABLE conversations (
    "key" TEXT PRIMARY KEY,
    body TEXT NOT NULL,
    openTurns INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX conversations_open ON conversations (openTurns) WHERE openTurns > 0;
  CREATE TABLE turns ("key" TEXT PRIMARY KEY, body TEXT NOT NULL, sessionId TEXT NOT NULL) STRICT;
  CREATE INDEX turns_session ON turns (sessionId, "key");
  ALTER TABLE sessions ADD COLUMN gateway TEXT;
  CREATE INDEX sessions_gateway ON sessions (state, "key") WHERE gateway IS NOT NULL;
  `,
  // Tasks, what goes in and comes out of them, and how many there are.
  `
  CREATE TABLE tasks (
    "key" TEXT PRIMARY KEY,
    body TEXT NOT NULL,
    state TEXT NOT NULL,
    sessionId TEXT NOT NULL,
    agentId TEXT NOT NULL,
    type TEXT NOT NULL,
    priority TEXT NOT NULL,
    createdAt INTEGER NOT NULL,
    dueAt INTEGER,
    endedAt INTEGER
  ) STRICT;
  CREATE INDEX tasks_state ON tasks (state, "key");
  CREATE INDEX tasks_session ON tasks (sessionId, "key");
  CREATE INDEX tasks_agent ON tasks (agentId, "key");
  CREATE INDEX tasks_due ON tasks (dueAt) WHERE dueAt IS NOT NULL;
  CREATE INDEX tasks_ended ON tasks (endedAt) WHERE endedAt IS NOT NULL;

  CREATE TABLE task_data ("key" TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;

  CREATE TABLE task_recordings (
    "key" TEXT PRIMARY KEY,
    body TEXT NOT NULL,
    recording TEXT NOT NULL,
    startsAt INTEGER NOT NULL
  ) STRICT;
  CREATE UNIQUE INDEX task_recordings_place ON task_recordings (recording, startsAt, "key");

  CREATE TABLE task_census ("key" TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
  `,
  // Tasks are listed by any of state, type and priority, of a session or an agent, without a walk over the others.
  `
  ALTER TABLE tasks ADD COLUMN kind TEXT NOT NULL DEFAULT '';
  UPDATE tasks SET kind = state || '/' || type || '/' || priority;
  DROP INDEX tasks_state;
  DROP INDEX tasks_agent;
  CREATE INDEX tasks_kind ON tasks (kind, "key");
  CREATE INDEX tasks_session_kind ON tasks (sessionId, kind, "key");
  CREATE INDEX tasks_agent_kind ON tasks (agentId, kind, "key");
  `,
];
