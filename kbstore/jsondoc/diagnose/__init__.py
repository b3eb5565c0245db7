"""Explain why kbstore does not accept a value or a text as JSON."""
