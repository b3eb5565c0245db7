-- migrator: allow=several-ddl-in-one-file
-- Errors of our own services, grouped by fingerprint, with the sessions in which they were met.

CREATE TABLE support_troubleshooting_errors (
    id VARCHAR(64) NOT NULL PRIMARY KEY,
    fingerprint VARCHAR(64) NOT NULL UNIQUE,
    service VARCHAR(100) NOT NULL,
    message TEXT NOT NULL,
    severity VARCHAR(16) NOT NULL DEFAULT 'error' CHECK (severity IN ('warning', 'error', 'fatal')),
    occurrences INTEGER NOT NULL DEFAULT 0 CHECK (occurrences >= 0),
    problem_id VARCHAR(64),
    first_seen_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    last_seen_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    resolved_at DATETIME,
    FOREIGN KEY (problem_id) REFERENCES support_troubleshooting_problems (id) ON DELETE SET NULL
);

CREATE TABLE support_troubleshooting_error_occurrences (
    id VARCHAR(64) NOT NULL PRIMARY KEY,
    error_id VARCHAR(64) NOT NULL,
    session_id VARCHAR(64),
    stack TEXT,
    context JSON,
    occurred_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    FOREIGN KEY (error_id) REFERENCES support_troubleshooting_errors (id) ON DELETE CASCADE,
    FOREIGN KEY (session_id) REFERENCES support_troubleshooting_sessions (id) ON DELETE SET NULL
);

CREATE INDEX support_troubleshooting_errors_unresolved
ON support_troubleshooting_errors (resolved_at, last_seen_at);

CREATE INDEX support_troubleshooting_error_occurrences_by_error
ON support_troubleshooting_error_occurrences (error_id, occurred_at);
