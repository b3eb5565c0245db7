"""Says whether a write id that landed before is that of this change, by trying the change in a store in memory.

Whoever repeats a change with its write id means what landed. Whoever gives that id with another change would believe
that it landed too, so that is refused. What stands for a landed change is the state that it led to: the change is made
again, for the same base and carried over to the same version, and has to lead to the same content.
"""

from typing import Any

from kbstore.commit.staging import refuse_reuse, restores
from kbstore.errors import KBStoreError
from kbstore.history.change import OwnId, may_have_landed
from kbstore.history.version import Version
from kbstore.jsondoc.document import plain
from kbstore.store import Store

_BASES = 50
"""A patch that does not say what it was made for may have been made for so many versions before the one it made."""


def landed_with(store: Store, write_id: str | None) -> Version | None:
    """Return the version that landed with an id of the caller's choice; None if there is none."""
    if write_id is None or isinstance(write_id, OwnId) or not may_have_landed(write_id):
        return None
    return store.landed(write_id)


def check_patch(store: Store, write_id: str | None, patch: bytes, *bases: Version) -> None:
    """Refuse a patch whose write id landed with another one.

    Args:
        store: The store that it is for.
        write_id: The id.
        patch: JSON text of RFC 6902 operations.
        bases: What it was made for; versions before the one that landed by default.

    Raises:
        KBStoreError: It landed with another change.
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
        KBStoreError: It did.
        RevisionError: There is no such version.
    """
    version = landed_with(store, write_id)
    if version is None:
        return
    if not restores(store, version, revision):
        refuse_reuse(version, write_id)


def leads_to(store: Store, version: Version, base: Version, **change: Any) -> bool:
    """Return whether a change that was made for a base leads to a version, carried over to the one before it.

    Args:
        store: The store that has both.
        version: The version.
        base: An older one.
        change: The document or the patch, as for `Store.commit`.
    """
    if base.seq >= version.seq:
        return False
    with Store.create("memory:", author="-") as tried:
        for name, value in store.settings().items():
            tried.set(name, value)  # it merges as the store does
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
