SELECT id, url, secret_hash, events, is_active, created_at, disabled_at
FROM support_troubleshooting_webhooks WHERE 1 = 0;

SELECT id, webhook_id, session_id, event, payload, status, attempts, response_code, response_ms, next_attempt_at,
    delivered_at, created_at
FROM support_troubleshooting_webhook_deliveries WHERE 1 = 0;
