"""The event log, and everything that is folded from it: states, values, names and orders at any version."""
