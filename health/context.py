"""The input of a check: the targets and thresholds, its remembered values, and a clock."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kbstore.health.errors import NotConfigured
from kbstore.health.settings import Targets, Thresholds
from kbstore.kit.clock import Clock, SystemClock

if TYPE_CHECKING:
    from kbstore.store import Store


@dataclass(frozen=True, slots=True)
class Context:
    """Everything that a check may use, besides the targets themselves.

    Attributes:
        targets: The store, database and folders to check.
        thresholds: Limits of the checks, and how much a round reads.
        options: Options of the check in the configuration.
        remembered: Values to remember from the check's last result; empty before the first.
        facts: Facts from other parts of health, such as the last drill.
        clock: Source of the time and of random names.
    """

    targets: Targets = field(default_factory=Targets)
    thresholds: Thresholds = field(default_factory=Thresholds)
    options: Mapping[str, Any] = field(default_factory=dict)
    remembered: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    clock: Clock = field(default_factory=SystemClock)

    @property
    def store_location(self) -> str:
        """The location of the store.

        Raises:
            NotConfigured: No store is configured.
        """
        if not self.targets.store:
            raise NotConfigured("no store is configured, and there is none here")
        return self.targets.store

    @property
    def is_remote(self) -> bool:
        """Whether the store is on a server, where each look costs requests."""
        return self.store_location.startswith("s3:")

    def open_store(self) -> "Store":
        """Open the store for this check, which must close it. Only the check itself writes to the store.

        Raises:
            NotConfigured: No store is configured.
            KBStoreError: The store cannot be opened.
        """
        location = self.store_location
        from kbstore.errors import ReadOnlyStore
        from kbstore.store import Store

        try:
            return Store.open(location, branch=self.targets.branch)
        except ReadOnlyStore:
            return Store.open(location, read_only=True, branch=self.targets.branch)

    @property
    def database_url(self) -> str:
        """The URL of the database, with its password.

        Raises:
            NotConfigured: No database is configured.
        """
        if not self.targets.database:
            raise NotConfigured("no database is configured")
        return self.targets.database
