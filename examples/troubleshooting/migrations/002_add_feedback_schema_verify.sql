SELECT id, session_id, rating, resolved, remark, created_at FROM support_troubleshooting_feedback WHERE 1 = 0;
SELECT problem_id, answers, average_rating FROM support_troubleshooting_problem_ratings WHERE 1 = 0;
