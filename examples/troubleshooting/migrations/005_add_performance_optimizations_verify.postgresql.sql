-- Fails where an index is missing, or was left INVALID by a build that was cut off.
SELECT 1 / CAST(indisvalid AS INTEGER) FROM pg_index
WHERE indexrelid IN (
    CAST('support_troubleshooting_sessions_by_status' AS regclass),
    CAST('support_troubleshooting_sessions_open_by_agent' AS regclass),
    CAST('support_troubleshooting_sessions_by_problem' AS regclass),
    CAST('support_troubleshooting_problems_by_category' AS regclass),
    CAST('support_troubleshooting_deliveries_by_webhook' AS regclass),
    CAST('support_troubleshooting_deliveries_due' AS regclass),
    CAST('support_troubleshooting_escalations_by_session' AS regclass)
);
