"""What is in a database now, as plain data that can be kept, hashed, printed and compared."""

from kbstore.migrator.catalog.compare import Difference, compare
from kbstore.migrator.catalog.snapshot import Snapshot, dump, schema_hash, take_snapshot

__all__ = ["Difference", "Snapshot", "compare", "dump", "schema_hash", "take_snapshot"]
