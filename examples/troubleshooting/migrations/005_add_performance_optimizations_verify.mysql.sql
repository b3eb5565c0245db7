-- Fails where an index is missing.
SELECT 1 FROM support_troubleshooting_sessions FORCE INDEX (support_troubleshooting_sessions_by_status) WHERE 1 = 0;
SELECT 1 FROM support_troubleshooting_sessions FORCE INDEX (support_troubleshooting_sessions_open_by_agent) WHERE 1 = 0;
SELECT 1 FROM support_troubleshooting_problems FORCE INDEX (support_troubleshooting_problems_by_category) WHERE 1 = 0;
SELECT 1 FROM support_troubleshooting_webhook_deliveries FORCE INDEX (support_troubleshooting_deliveries_by_webhook) WHERE 1 = 0;
SELECT 1 FROM support_troubleshooting_webhook_deliveries FORCE INDEX (support_troubleshooting_deliveries_due) WHERE 1 = 0;
