SELECT priority, language, due_at FROM support_troubleshooting_sessions WHERE 1 = 0;
SELECT session_id, tag FROM support_troubleshooting_session_tags WHERE 1 = 0;

SELECT id, session_id, from_agent_id, to_agent_id, reason, created_at
FROM support_troubleshooting_escalations WHERE 1 = 0;

SELECT problem_id, related_id, kind FROM support_troubleshooting_related_problems WHERE 1 = 0;
