"""The result of a migration, and the states of a run."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from kbstore.migrator.engines.contract import DatabaseFault


class Direction(NamedTuple):
    """The states of a run in one direction, and the words for people."""

    doing: str
    failed: str
    done: str
    verb: str
    again: str


UP = Direction("running", "failed", "applied", "applied", "migrator up")
DOWN = Direction("reverting", "revert_failed", "rolled_back", "rolled back", "migrator down {name}")


class Result(NamedTuple):
    """The result of a migration.

    Attributes:
        state: "applied", "rolled_back", "baseline" or "pending"; for a dry run "executed" (and undone) or
            "not_executed".
        duration_ms: Milliseconds for statements and commit; 0 if nothing was run.
    """

    migration: str
    message: str
    state: str
    duration_ms: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary."""
        return self._asdict()


def check_answer(rows: Sequence[Sequence[Any]]) -> None:
    """Check the rows of a query in a verify script: a single value of NULL, false or 0 fails.

    Raises:
        DatabaseFault: The query gave such a value.
    """
    if len(rows) == 1 and len(rows[0]) == 1 and not rows[0][0]:
        raise DatabaseFault(f"the check gave {'NULL' if rows[0][0] is None else rows[0][0]}")
