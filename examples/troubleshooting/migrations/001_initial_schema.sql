-- migrator: allow=squawk/prefer-bigint-over-int
-- Problems that support knows, sessions in which a customer is helped with one, and the steps of a session.
-- Ids come from the application (UUIDs or slugs), so that every database takes the same rows.

CREATE TABLE support_troubleshooting_problems (
    id TEXT NOT NULL PRIMARY KEY,
    title TEXT NOT NULL,
    category TEXT NOT NULL,
    severity TEXT NOT NULL DEFAULT 'medium' CHECK (severity IN ('low', 'medium', 'high', 'critical')),
    description TEXT NOT NULL DEFAULT '',
    solution TEXT,
    created_at TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE support_troubleshooting_sessions (
    id TEXT NOT NULL PRIMARY KEY,
    customer_id TEXT NOT NULL,
    agent_id TEXT,
    problem_id TEXT,
    channel TEXT NOT NULL DEFAULT 'chat' CHECK (channel IN ('chat', 'email', 'phone', 'api')),
    status TEXT NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'waiting', 'resolved', 'abandoned')),
    summary TEXT,
    started_at TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP,
    ended_at TIMESTAMPTZ,
    FOREIGN KEY (problem_id) REFERENCES support_troubleshooting_problems (id) ON DELETE SET NULL,
    CHECK (ended_at IS NULL OR ended_at >= started_at)
);

CREATE TABLE support_troubleshooting_steps (
    id TEXT NOT NULL PRIMARY KEY,
    session_id TEXT NOT NULL,
    position INTEGER NOT NULL CHECK (position > 0),
    instruction TEXT NOT NULL,
    outcome TEXT CHECK (outcome IN ('worked', 'failed', 'skipped')),
    note TEXT,
    done_at TIMESTAMPTZ,
    UNIQUE (session_id, position),
    FOREIGN KEY (session_id) REFERENCES support_troubleshooting_sessions (id) ON DELETE CASCADE
);

CREATE VIEW support_troubleshooting_open_sessions AS
SELECT s.id, s.customer_id, s.agent_id, s.status, s.started_at, p.title AS problem_title, p.severity
FROM support_troubleshooting_sessions AS s
LEFT JOIN support_troubleshooting_problems AS p ON p.id = s.problem_id
WHERE s.ended_at IS NULL;
