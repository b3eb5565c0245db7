-- migrator: allow=squawk/prefer-bigint-over-int
-- Errors of our own services, grouped by fingerprint, with the sessions in which they were met.

CREATE TABLE support_troubleshooting_errors (
    id TEXT NOT NULL PRIMARY KEY,
    fingerprint TEXT NOT NULL UNIQUE,
    service TEXT NOT NULL,
    message TEXT NOT NULL,
    severity TEXT NOT NULL DEFAULT 'error' CHECK (severity IN ('warning', 'error', 'fatal')),
    occurrences INTEGER NOT NULL DEFAULT 0 CHECK (occurrences >= 0),
    problem_id TEXT,
    first_seen_at TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP,
    last_seen_at TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP,
    resolved_at TIMESTAMPTZ,
    FOREIGN KEY (problem_id) REFERENCES support_troubleshooting_problems (id) ON DELETE SET NULL
);

CREATE TABLE support_troubleshooting_error_occurrences (
    id TEXT NOT NULL PRIMARY KEY,
    error_id TEXT NOT NULL,
    session_id TEXT,
    stack TEXT,
    context JSONB,
    occurred_at TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP,
    FOREIGN KEY (error_id) REFERENCES support_troubleshooting_errors (id) ON DELETE CASCADE,
    FOREIGN KEY (session_id) REFERENCES support_troubleshooting_sessions (id) ON DELETE SET NULL
);

CREATE INDEX support_troubleshooting_errors_unresolved
ON support_troubleshooting_errors (last_seen_at) WHERE resolved_at IS NULL;

CREATE INDEX support_troubleshooting_error_occurrences_by_error
ON support_troubleshooting_error_occurrences (error_id, occurred_at);
