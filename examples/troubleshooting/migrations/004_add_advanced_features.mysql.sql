-- migrator: allow=several-ddl-in-one-file
-- Priorities and languages of sessions, tags, escalations, and which problems belong together.

ALTER TABLE support_troubleshooting_sessions ADD COLUMN priority VARCHAR(16) NOT NULL DEFAULT 'normal';
ALTER TABLE support_troubleshooting_sessions ADD COLUMN language VARCHAR(16);
ALTER TABLE support_troubleshooting_sessions ADD COLUMN due_at DATETIME;

CREATE TABLE support_troubleshooting_session_tags (
    session_id VARCHAR(64) NOT NULL,
    tag VARCHAR(100) NOT NULL,
    PRIMARY KEY (session_id, tag),
    FOREIGN KEY (session_id) REFERENCES support_troubleshooting_sessions (id) ON DELETE CASCADE
);

CREATE TABLE support_troubleshooting_escalations (
    id VARCHAR(64) NOT NULL PRIMARY KEY,
    session_id VARCHAR(64) NOT NULL,
    from_agent_id VARCHAR(64),
    to_agent_id VARCHAR(64) NOT NULL,
    reason TEXT NOT NULL,
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    FOREIGN KEY (session_id) REFERENCES support_troubleshooting_sessions (id) ON DELETE CASCADE
);

CREATE TABLE support_troubleshooting_related_problems (
    problem_id VARCHAR(64) NOT NULL,
    related_id VARCHAR(64) NOT NULL,
    kind VARCHAR(16) NOT NULL DEFAULT 'similar' CHECK (kind IN ('similar', 'cause', 'consequence')),
    PRIMARY KEY (problem_id, related_id),
    FOREIGN KEY (problem_id) REFERENCES support_troubleshooting_problems (id) ON DELETE CASCADE,
    FOREIGN KEY (related_id) REFERENCES support_troubleshooting_problems (id) ON DELETE CASCADE,
    CHECK (problem_id <> related_id)
);
