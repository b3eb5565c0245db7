-- migrator: transaction=off allow=several-ddl-in-one-file
-- As the common text, but without stopping the writers: PostgreSQL builds these indexes outside of a transaction.

CREATE INDEX CONCURRENTLY support_troubleshooting_sessions_by_status
ON support_troubleshooting_sessions (status, started_at);

CREATE INDEX CONCURRENTLY support_troubleshooting_sessions_open_by_agent
ON support_troubleshooting_sessions (agent_id) WHERE ended_at IS NULL;

CREATE INDEX CONCURRENTLY support_troubleshooting_sessions_by_problem
ON support_troubleshooting_sessions (problem_id);

CREATE INDEX CONCURRENTLY support_troubleshooting_problems_by_category
ON support_troubleshooting_problems (category, severity);

CREATE INDEX CONCURRENTLY support_troubleshooting_deliveries_by_webhook
ON support_troubleshooting_webhook_deliveries (webhook_id, created_at);

CREATE INDEX CONCURRENTLY support_troubleshooting_deliveries_due
ON support_troubleshooting_webhook_deliveries (next_attempt_at) WHERE status = 'pending';

CREATE INDEX CONCURRENTLY support_troubleshooting_escalations_by_session
ON support_troubleshooting_escalations (session_id);
