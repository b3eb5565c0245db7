-- Fails where a table, a view or a column is missing; reads no row.
SELECT id, title, category, severity, description, solution, created_at, updated_at
FROM support_troubleshooting_problems WHERE 1 = 0;

SELECT id, customer_id, agent_id, problem_id, channel, status, summary, started_at, ended_at
FROM support_troubleshooting_sessions WHERE 1 = 0;

SELECT id, session_id, position, instruction, outcome, note, done_at FROM support_troubleshooting_steps WHERE 1 = 0;

SELECT id, problem_title, severity FROM support_troubleshooting_open_sessions WHERE 1 = 0;
