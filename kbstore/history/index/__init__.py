"""Indexes over the event log, in blocks: the entries, authors and member orders touched by each event."""
