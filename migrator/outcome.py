"""What can come of a migration, and the states that it goes through on the way."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from kbstore.migrator.engines.contract import DatabaseFault


class Direction(NamedTuple):
    """The states that a run in one direction goes through, and what people call it."""

    doing: str
    failed: str
    done: str
    verb: str
    again: str


UP = Direction("running", "failed", "applied", "applied", "migrator up")
DOWN = Direction("reverting", "revert_failed", "rolled_back", "rolled back", "migrator down {name}")


class Result(NamedTuple):
    """What came of one migration.

    Attributes:
        state: "applied", "rolled_back", "baseline"; of a dry run "executed" (and undone) or "not_executed".
        duration_ms: Of its statements and their commit; 0 where nothing was run.
    """

    migration: str
    message: str
    state: str
    duration_ms: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Its fields."""
        return self._asdict()


def check_answer(rows: Sequence[Sequence[Any]]) -> None:
    """What a verify script's query has to give: anything but one single value that is NULL, false or 0.

    Raises:
        DatabaseFault: It gave that.
    """
    if len(rows) == 1 and len(rows[0]) == 1 and not rows[0][0]:
        raise DatabaseFault(f"the check gave {'NULL' if rows[0][0] is None else rows[0][0]}")
