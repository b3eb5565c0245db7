"""The schema of a live database, as plain data to keep, hash, print and compare."""

from kbstore.migrator.catalog.compare import Difference, compare
from kbstore.migrator.catalog.snapshot import Snapshot, dump, schema_hash, take_snapshot

__all__ = ["Difference", "Snapshot", "compare", "dump", "schema_hash", "take_snapshot"]
