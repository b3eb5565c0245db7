-- Priorities and languages of sessions, tags, escalations, and which problems belong together.

ALTER TABLE support_troubleshooting_sessions ADD COLUMN priority TEXT NOT NULL DEFAULT 'normal';
ALTER TABLE support_troubleshooting_sessions ADD COLUMN language TEXT;
ALTER TABLE support_troubleshooting_sessions ADD COLUMN due_at TIMESTAMPTZ;

CREATE TABLE support_troubleshooting_session_tags (
    session_id TEXT NOT NULL,
    tag TEXT NOT NULL,
    PRIMARY KEY (session_id, tag),
    FOREIGN KEY (session_id) REFERENCES support_troubleshooting_sessions (id) ON DELETE CASCADE
);

CREATE TABLE support_troubleshooting_escalations (
    id TEXT NOT NULL PRIMARY KEY,
    session_id TEXT NOT NULL,
    from_agent_id TEXT,
    to_agent_id TEXT NOT NULL,
    reason TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP,
    FOREIGN KEY (session_id) REFERENCES support_troubleshooting_sessions (id) ON DELETE CASCADE
);

CREATE TABLE support_troubleshooting_related_problems (
    problem_id TEXT NOT NULL,
    related_id TEXT NOT NULL,
    kind TEXT NOT NULL DEFAULT 'similar' CHECK (kind IN ('similar', 'cause', 'consequence')),
    PRIMARY KEY (problem_id, related_id),
    FOREIGN KEY (problem_id) REFERENCES support_troubleshooting_problems (id) ON DELETE CASCADE,
    FOREIGN KEY (related_id) REFERENCES support_troubleshooting_problems (id) ON DELETE CASCADE,
    CHECK (problem_id <> related_id)
);
