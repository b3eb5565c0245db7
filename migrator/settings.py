"""How a migrator works, where a user may choose."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Settings:
    """Choices, with what is right for most.

    Attributes:
        lock_timeout_s: Seconds that a statement may wait for a lock before the whole transaction is begun anew; 0 is
            without limit, and lets every later query of the application queue up behind the migration.
        statement_timeout_s: Seconds that a statement may take; 0 is without limit.
        retries: How often a transaction is begun anew.
        wait_s: Seconds to wait for another runner.
        out_of_order: What to do about a file whose version is below one that is applied.
        backup: Whether to save the database first; None means a SQLite file yes, a PostgreSQL database no.
        backup_folder: Where to; None means beside a SQLite file, else the current folder.
        lint: Whether a fault that a rule finds stops the run.
    """

    lock_timeout_s: float = 5.0
    statement_timeout_s: float = 0.0
    retries: int = 5
    wait_s: float = 60.0
    out_of_order: Literal["error", "warn", "allow"] = "error"
    backup: bool | None = None
    backup_folder: Path | None = None
    lint: bool = True


DEFAULTS = Settings()
