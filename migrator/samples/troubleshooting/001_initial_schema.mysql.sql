-- migrator: allow=several-ddl-in-one-file
-- Problems that support knows, sessions in which a customer is helped with one, and the steps of a session.
-- Ids come from the application (UUIDs or slugs), so that every database takes the same rows.

CREATE TABLE support_troubleshooting_problems (
    id VARCHAR(64) NOT NULL PRIMARY KEY,
    title VARCHAR(200) NOT NULL,
    category VARCHAR(100) NOT NULL,
    severity VARCHAR(16) NOT NULL DEFAULT 'medium' CHECK (severity IN ('low', 'medium', 'high', 'critical')),
    description TEXT NOT NULL DEFAULT '',
    solution TEXT,
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE support_troubleshooting_sessions (
    id VARCHAR(64) NOT NULL PRIMARY KEY,
    customer_id VARCHAR(64) NOT NULL,
    agent_id VARCHAR(64),
    problem_id VARCHAR(64),
    channel VARCHAR(16) NOT NULL DEFAULT 'chat' CHECK (channel IN ('chat', 'email', 'phone', 'api')),
    status VARCHAR(16) NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'waiting', 'resolved', 'abandoned')),
    summary TEXT,
    started_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    ended_at DATETIME,
    FOREIGN KEY (problem_id) REFERENCES support_troubleshooting_problems (id) ON DELETE SET NULL,
    CHECK (ended_at IS NULL OR ended_at >= started_at)
);

CREATE TABLE support_troubleshooting_steps (
    id VARCHAR(64) NOT NULL PRIMARY KEY,
    session_id VARCHAR(64) NOT NULL,
    position INTEGER NOT NULL CHECK (position > 0),
    instruction TEXT NOT NULL,
    outcome VARCHAR(16) CHECK (outcome IN ('worked', 'failed', 'skipped')),
    note TEXT,
    done_at DATETIME,
    UNIQUE (session_id, position),
    FOREIGN KEY (session_id) REFERENCES support_troubleshooting_sessions (id) ON DELETE CASCADE
);

CREATE VIEW support_troubleshooting_open_sessions AS
SELECT s.id, s.customer_id, s.agent_id, s.status, s.started_at, p.title AS problem_title, p.severity
FROM support_troubleshooting_sessions AS s
LEFT JOIN support_troubleshooting_problems AS p ON p.id = s.problem_id
WHERE s.ended_at IS NULL;
