"""A restore drill: brings back a version as one would after a loss, and sees that it is what was committed.

A backup that was never restored is a hope. The drill writes a whole version, picked at random, to a scratch folder,
reads it back and compares its state hash with the one in the version's event.
"""

from dataclasses import dataclass
from time import monotonic
from typing import Any

from kbstore.health.context import Context
from kbstore.kit.clock import format_time
from kbstore.kit.folders import temporary_folder

FACT = "drill"
"""Under this name the result is kept, for the check ``restore.drill``."""


@dataclass(frozen=True, slots=True)
class Drill:
    """What a drill found.

    Attributes:
        ok: Whether what came back is what was committed.
        version: Full name of the version.
        message: One sentence.
        time: When: RFC 3339.
        duration_s: How long the restore took.
    """

    ok: bool
    version: str
    message: str
    time: str
    duration_s: float

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


def drill(ctx: Context, revision: str | None = None) -> Drill:
    """Restore one version to a scratch place and compare.

    Args:
        ctx: Where the store is.
        revision: Which version; one at random by default.

    Raises:
        NotConfigured: There is no store, or no version in it.
        KBStoreError: The store cannot be opened, or there is no such version.
    """
    from kbstore.errors import KBStoreError
    from kbstore.health.checks.integrity import pick
    from kbstore.health.errors import NotConfigured
    from kbstore.jsondoc.canonical import dumps, loads
    from kbstore.tree.builder import root_of

    began = monotonic()
    with ctx.open_store() as store:
        newest = store.head().seq
        if not newest:
            raise NotConfigured("the store has no version yet that could be restored")
        if revision is None:
            (seq,) = pick(range(1, newest + 1), 1, ctx.clock.token())
            revision = f"v{seq}"
        version = store.version(revision)
        try:
            with temporary_folder() as folder:
                file = folder / "restored.json"
                file.write_bytes(dumps(store.checkout(version)))
                found = root_of(loads(file.read_bytes())).address.hex()
                size = file.stat().st_size
        except (KBStoreError, OSError) as fault:
            return _told(ctx, began, version.name, ok=False, message=f"{version.name} cannot be restored: {fault}")
    if found != version.state:
        return _told(ctx, began, version.name, ok=False, message=f"{version.name} came back as something else")
    return _told(ctx, began, version.name, ok=True, message=f"{version.name} came back whole, {size:,} bytes")


def _told(ctx: Context, began: float, version: str, *, ok: bool, message: str) -> Drill:
    return Drill(ok, version, message, format_time(ctx.clock.now()), round(monotonic() - began, 6))
