"""One engine for each kind of database, chosen by the URL; its driver is imported when it is opened."""

from migrator.engines.contract import DatabaseFault, Engine, Limits
from migrator.urls import DatabaseUrl

__all__ = ["DatabaseFault", "Engine", "Limits", "make_engine"]


def make_engine(url: DatabaseUrl) -> Engine:
    """The engine for this URL, not yet opened."""
    if url.dialect == "sqlite":
        from migrator.engines.sqlite import SQLiteEngine

        return SQLiteEngine(url)
    if url.dialect == "postgresql":
        from migrator.engines.postgresql import PostgreSQLEngine

        return PostgreSQLEngine(url)
    from migrator.engines.mysql import MySQLEngine

    return MySQLEngine(url)
