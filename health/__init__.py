"""Pluggable health checks of the store, its backends and its migrations."""
