"""The event log, and its folds: states, values, names and orders at any version."""
