"""Explain why a value or a text is not JSON that kbstore accepts."""
