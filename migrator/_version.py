"""The version of the tool that is recorded with each migration: that of the distribution it comes in."""

__version__ = "0.1.0"
