"""Git-like history for a JSON knowledge base, at JSON granularity."""

from kbstore._version import __version__

__all__ = ["__version__"]
