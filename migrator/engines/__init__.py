"""Engines: one class for each kind of database. Opening an engine imports the driver."""

from kbstore.migrator.engines.contract import DatabaseFault, Engine, Limits
from kbstore.migrator.urls import DatabaseUrl

__all__ = ["DatabaseFault", "Engine", "Limits", "make_engine"]


def make_engine(url: DatabaseUrl) -> Engine:
    """Return the engine for this URL, not yet opened."""
    if url.dialect == "sqlite":
        from kbstore.migrator.engines.sqlite import SQLiteEngine

        return SQLiteEngine(url)
    if url.dialect == "postgresql":
        from kbstore.migrator.engines.postgresql import PostgreSQLEngine

        return PostgreSQLEngine(url)
    from kbstore.migrator.engines.mysql import MySQLEngine

    return MySQLEngine(url)
