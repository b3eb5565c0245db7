"""Indexes over the event log, in blocks: the entries, authors and member orders that an event touched."""
