"""Proof of a history from its bytes, and rescue of all provable parts of a damaged history."""
