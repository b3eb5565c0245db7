"""Versioned SQL migrations, independent of the store."""
