"""Check whether a landed write id belongs to this change, by trying the change in a store in memory.

A caller that repeats a change with the same write id wants the landed version. A caller that gives the id with another
change would believe that the other change landed too, so the second use is refused. The state of the landed version
identifies the change: the change is made again, for the same base and carried over to the same version, and must lead
to the same content.
"""

from typing import Any

from kbstore.commit.staging import refuse_reuse, restores
from kbstore.errors import KBStoreError
from kbstore.history.change import OwnId, may_have_landed
from kbstore.history.version import Version
from kbstore.jsondoc.document import plain
from kbstore.store import Store

_BASES = 50
"""If a patch does not name the base, this many versions before the landed version are tried as the base."""


def landed_with(store: Store, write_id: str | None) -> Version | None:
    """Return the landed version with a write id of the caller's choice; None if there is no such version."""
    if write_id is None or isinstance(write_id, OwnId) or not may_have_landed(write_id):
        return None
    return store.landed(write_id)


def check_patch(store: Store, write_id: str | None, patch: bytes, *bases: Version) -> None:
    """Refuse a patch if the write id landed with another change.

    Args:
        store: The store for the patch.
        write_id: The id.
        patch: JSON text of RFC 6902 operations.
        bases: The versions that the patch may be made for; by default the versions before the landed version.

    Raises:
        KBStoreError: The write id landed with another change.
    """
    version = landed_with(store, write_id)
    if version is None:
        return
    first = max(0, version.seq - _BASES)
    tried = bases or tuple(store.version(f"v{seq}") for seq in range(version.seq - 1, first - 1, -1))
    if not any(leads_to(store, version, base, patch=patch) for base in tried):
        refuse_reuse(version, write_id)


def check_restore(store: Store, write_id: str | None, revision: "str | Version") -> None:
    """Refuse to restore a version with a write id that landed with another change.

    Raises:
        KBStoreError: The write id landed with another change.
        RevisionError: The revision does not name a version.
    """
    version = landed_with(store, write_id)
    if version is None:
        return
    if not restores(store, version, revision):
        refuse_reuse(version, write_id)


def leads_to(store: Store, version: Version, base: Version, **change: Any) -> bool:
    """Return whether a change for a base leads to a version, when carried over to the version before that.

    Args:
        store: The store with both versions.
        version: The version.
        base: An older version.
        change: The document or the patch, as for `Store.commit`.
    """
    if base.seq >= version.seq:
        return False
    with Store.create("memory:", author="-") as tried:
        for name, value in store.settings().items():
            tried.set(name, value)  # so that it merges as the store does
        if base.seq:
            tried.commit(plain(store.checkout(base)))
        start = tried.head()
        if version.seq - 1 > base.seq:
            tried.commit(plain(store.checkout(f"v{version.seq - 1}")), base=start)
        try:
            made = tried.commit(**change, base=start)
        except KBStoreError:
            return False
        return made.state == version.state
