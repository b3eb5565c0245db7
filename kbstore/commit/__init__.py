"""The commit protocol: from a proposed change to a slot in the log."""
