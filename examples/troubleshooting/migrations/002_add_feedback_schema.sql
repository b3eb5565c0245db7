-- migrator: allow=squawk/prefer-bigint-over-smallint
-- What customers say after a session, and how each problem's solution fares.

CREATE TABLE support_troubleshooting_feedback (
    id TEXT NOT NULL PRIMARY KEY,
    session_id TEXT NOT NULL,
    rating SMALLINT NOT NULL CHECK (rating BETWEEN 1 AND 5),
    resolved BOOLEAN,
    remark TEXT,
    created_at TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP,
    UNIQUE (session_id),
    FOREIGN KEY (session_id) REFERENCES support_troubleshooting_sessions (id) ON DELETE CASCADE
);

CREATE VIEW support_troubleshooting_problem_ratings AS
SELECT s.problem_id, COUNT(*) AS answers, AVG(f.rating) AS average_rating
FROM support_troubleshooting_feedback AS f
INNER JOIN support_troubleshooting_sessions AS s ON s.id = f.session_id
WHERE s.problem_id IS NOT NULL
GROUP BY s.problem_id;
