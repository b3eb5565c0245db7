-- migrator: allow=several-ddl-in-one-file
-- As the common text, without partial indexes, and without those that MySQL has made for its foreign keys.

CREATE INDEX support_troubleshooting_sessions_by_status
ON support_troubleshooting_sessions (status, started_at);

CREATE INDEX support_troubleshooting_sessions_open_by_agent
ON support_troubleshooting_sessions (agent_id, ended_at);

CREATE INDEX support_troubleshooting_problems_by_category
ON support_troubleshooting_problems (category, severity);

CREATE INDEX support_troubleshooting_deliveries_by_webhook
ON support_troubleshooting_webhook_deliveries (created_at, webhook_id);

CREATE INDEX support_troubleshooting_deliveries_due
ON support_troubleshooting_webhook_deliveries (status, next_attempt_at);
