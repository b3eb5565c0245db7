-- Fails where an index is missing (SQLite).
SELECT 1 FROM support_troubleshooting_sessions INDEXED BY support_troubleshooting_sessions_by_status
WHERE status = '' AND 1 = 0;
SELECT 1 FROM support_troubleshooting_sessions INDEXED BY support_troubleshooting_sessions_open_by_agent
WHERE agent_id = '' AND ended_at IS NULL AND 1 = 0;
SELECT 1 FROM support_troubleshooting_sessions INDEXED BY support_troubleshooting_sessions_by_problem
WHERE problem_id = '' AND 1 = 0;
SELECT 1 FROM support_troubleshooting_problems INDEXED BY support_troubleshooting_problems_by_category
WHERE category = '' AND 1 = 0;
SELECT 1 FROM support_troubleshooting_webhook_deliveries INDEXED BY support_troubleshooting_deliveries_by_webhook
WHERE webhook_id = '' AND 1 = 0;
SELECT 1 FROM support_troubleshooting_webhook_deliveries INDEXED BY support_troubleshooting_deliveries_due
WHERE next_attempt_at = '' AND status = 'pending' AND 1 = 0;
SELECT 1 FROM support_troubleshooting_escalations INDEXED BY support_troubleshooting_escalations_by_session
WHERE session_id = '' AND 1 = 0;
