-- migrator: transaction=off allow=several-ddl-in-one-file
DROP INDEX CONCURRENTLY IF EXISTS support_troubleshooting_sessions_by_status;
DROP INDEX CONCURRENTLY IF EXISTS support_troubleshooting_sessions_open_by_agent;
DROP INDEX CONCURRENTLY IF EXISTS support_troubleshooting_sessions_by_problem;
DROP INDEX CONCURRENTLY IF EXISTS support_troubleshooting_problems_by_category;
DROP INDEX CONCURRENTLY IF EXISTS support_troubleshooting_deliveries_by_webhook;
DROP INDEX CONCURRENTLY IF EXISTS support_troubleshooting_deliveries_due;
DROP INDEX CONCURRENTLY IF EXISTS support_troubleshooting_escalations_by_session;
