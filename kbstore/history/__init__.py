"""The event log, and folds of the log: states, values, names and orders at any version."""
