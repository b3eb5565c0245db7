"""Proof of a history from the bytes, and rescue of all provable parts of a damaged history."""
