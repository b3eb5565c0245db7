-- Indexes for the lists that agents look at, and small partial ones for what is still to be done.

CREATE INDEX support_troubleshooting_sessions_by_status
ON support_troubleshooting_sessions (status, started_at);

CREATE INDEX support_troubleshooting_sessions_open_by_agent
ON support_troubleshooting_sessions (agent_id) WHERE ended_at IS NULL;

CREATE INDEX support_troubleshooting_sessions_by_problem
ON support_troubleshooting_sessions (problem_id);

CREATE INDEX support_troubleshooting_problems_by_category
ON support_troubleshooting_problems (category, severity);

CREATE INDEX support_troubleshooting_deliveries_by_webhook
ON support_troubleshooting_webhook_deliveries (webhook_id, created_at);

CREATE INDEX support_troubleshooting_deliveries_due
ON support_troubleshooting_webhook_deliveries (next_attempt_at) WHERE status = 'pending';

CREATE INDEX support_troubleshooting_escalations_by_session
ON support_troubleshooting_escalations (session_id);
