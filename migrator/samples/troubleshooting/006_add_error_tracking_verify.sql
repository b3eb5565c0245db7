SELECT id, fingerprint, service, message, severity, occurrences, problem_id, first_seen_at, last_seen_at, resolved_at
FROM support_troubleshooting_errors WHERE 1 = 0;

SELECT id, error_id, session_id, stack, context, occurred_at
FROM support_troubleshooting_error_occurrences WHERE 1 = 0;
