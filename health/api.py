"""The guide's interface to health: one object, one call, a plain dict."""

import os
from pathlib import Path
from typing import Any

from kbstore.health.config import load
from kbstore.health.run.engine import Engine
from kbstore.health.settings import Settings


class TroubleshootingHealthCheck:
    """All checks of the knowledge base around the current folder.

    Args:
        store: Store to use instead of the configured store.
        database: URL of a database to use instead of the configured database.
        config: Configuration file to use instead of the file found upward of the current folder.
        settings: The whole configuration, instead of a file.
        isolate: Run the checks in a disposable process, so that a check that hangs can be killed.
    """

    def __init__(
        self,
        store: str | os.PathLike[str] | None = None,
        *,
        database: str | None = None,
        config: str | os.PathLike[str] | None = None,
        settings: Settings | None = None,
        isolate: bool = True,
    ) -> None:
        self._settings = settings or load(
            Path.cwd(),
            os.environ,
            file=Path(config) if config is not None else None,
            store=os.fspath(store) if store is not None else None,
            database=database,
        )
        self._isolate = isolate

    def run_all_checks(self) -> dict[str, Any]:
        """Run every check. This takes as long as the slowest check, at most the deadline of a round and a second.

        Returns:
            ``{"overall_status": "healthy" | "degraded" | "unhealthy", "checks": {name: {"status", "message", ...}}}``
            with the checks that ran; skipped checks are under ``skipped`` in the same form.

        Raises:
            HealthError: The configuration or the declarations of checks cannot be used. A problem found by a check is
                never an exception.
        """
        with Engine(self._settings, isolate=self._isolate) as engine:
            return engine.run().as_dict()
