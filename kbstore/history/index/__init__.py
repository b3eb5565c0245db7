"""Indexes over the event log, in blocks: which entries, authors and member orders an event touched."""
