"""A restore drill: restores a version as after a loss, and checks that the result equals the committed version.

A backup that was never restored is a hope. The drill writes a whole version, picked at random, to a scratch folder,
reads the file back, and compares its state hash with the hash in the version's event.
"""

from dataclasses import dataclass
from time import monotonic
from typing import Any

from kbstore.health.context import Context
from kbstore.kit.clock import format_time
from kbstore.kit.folders import temporary_folder

FACT = "drill"
"""Name of the fact with the last drill, for the check ``restore.drill``."""


@dataclass(frozen=True, slots=True)
class Drill:
    """The result of a drill.

    Attributes:
        ok: Whether the restored version equals the committed version.
        version: Full name of the version.
        message: A sentence for a person.
        time: Time of the drill: RFC 3339.
        duration_s: Seconds taken by the restore.
    """

    ok: bool
    version: str
    message: str
    time: str
    duration_s: float

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


def drill(ctx: Context, revision: str | None = None) -> Drill:
    """Restore a version to a scratch folder and compare.

    Args:
        ctx: Context with the location of the store.
        revision: Version to restore; by default picked at random.

    Raises:
        NotConfigured: No store is configured, or the store has no version.
        KBStoreError: The store cannot be opened, or does not have this version.
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
