"""What a check is given: the targets and thresholds, what it remembered, and a clock."""

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
    """Everything that a check may look at besides the world.

    Attributes:
        targets: What is to be checked.
        thresholds: Where well ends.
        options: The check's own options in the configuration.
        remembered: What the check's last result asked to remember; empty before the first.
        facts: What other parts of health know and this check may judge, such as the last drill.
        clock: Gives the time and random names.
    """

    targets: Targets = field(default_factory=Targets)
    thresholds: Thresholds = field(default_factory=Thresholds)
    options: Mapping[str, Any] = field(default_factory=dict)
    remembered: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    clock: Clock = field(default_factory=SystemClock)

    @property
    def store_location(self) -> str:
        """Where the store is.

        Raises:
            NotConfigured: Nobody named one.
        """
        if not self.targets.store:
            raise NotConfigured("no store is configured, and there is none here")
        return self.targets.store

    @property
    def is_remote(self) -> bool:
        """Whether the store is on a server, where each look costs requests."""
        return self.store_location.startswith("s3:")

    def open_store(self) -> "Store":
        """The store, opened anew for this check, to be closed by it; it is not written to unless the check does.

        Raises:
            NotConfigured: Nobody named one.
            KBStoreError: It cannot be opened.
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
        """Where the database is, with its password.

        Raises:
            NotConfigured: Nobody named one.
        """
        if not self.targets.database:
            raise NotConfigured("no database is configured")
        return self.targets.database
