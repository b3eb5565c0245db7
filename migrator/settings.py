"""Settings of a migrator."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Settings:
    """Choices of the user, with defaults that fit most databases.

    Attributes:
        lock_timeout_s: Seconds that a statement may wait for a lock; then the whole transaction begins again. 0 means
            no limit: later queries of the application then queue up behind the waiting migration.
        statement_timeout_s: Seconds that a statement may take; 0 means no limit.
        retries: How often a transaction begins again.
        wait_s: Seconds to wait for another runner.
        out_of_order: The reaction to a file with a version below an applied version.
        backup: Whether to save the database first. `None` means: a SQLite file yes, another database no.
        backup_folder: The folder of the backup. `None` means: beside a SQLite file, else the current folder.
        lint: Whether an error of a lint rule stops the run.
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
