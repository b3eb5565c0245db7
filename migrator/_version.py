"""The version recorded with each migration: the version of the distribution that contains migrator."""

__version__ = "0.1.0"
