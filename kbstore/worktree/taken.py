"""Finds the version that a file was taken from: as it was remembered, else by content.

Invariants:

1. A remembered version counts only if the open branch of this store contains it, under the same id.
2. If the file equals a newer version than the remembered one, it is that version: a command was killed before it could
   remember it, or the file came from elsewhere. Nothing in it is uncommitted then. (A newer version with another order
   of members does not count: the file may still have the order of the remembered one.)
3. Without the remembered version, one with the same content serves as well: what differs from it is the same.
4. If there is none either, nobody can say what was changed in the file. That is an error, and never a guess.
"""

from kbstore.errors import KBStoreError, RevisionError
from kbstore.history.version import Version
from kbstore.store import Store
from kbstore.tree.builder import root_of
from kbstore.worktree.json_file import FileContent
from kbstore.worktree.project import FileState

_SEARCHED = 1_000
"""Newest versions that are compared with a file of which nothing is remembered."""


class BaseUnknown(KBStoreError):
    """The version that a file was taken from is not in this store."""


def find_base(store: Store, name: str, state: FileState | None, content: FileContent) -> Version:
    """Return the version that a file was taken from.

    A file of which nothing is remembered, and that equals none of the newest versions, is taken to be at the head.

    Args:
        store: The store.
        name: What to call the file.
        state: What is remembered of it.
        content: What it holds.

    Raises:
        BaseUnknown: That version is not here, and no other one has its content or the file's.
    """
    known = remembered(store, state) if state is not None else None
    if known is not None and state is not None and state.digest == content.digest:
        return known
    if known is not None and known == store.head():
        return known
    held = root_of(content.value).address.hex()
    if known is not None:
        newer = _with_content(store, held, after=known)
        return newer if newer is not None and store.same_order(known, newer) else known
    if state is None:
        return _with_content(store, held, limit=_SEARCHED) or store.head()
    if state.branch != store.branch and _contains(store, state):
        _refuse(store, name, state)  # what is only alike here may be at another place of the other branch's history
    return (
        _with_content(store, held)
        or (_with_content(store, state.state) if state.state else None)
        or _refuse(store, name, state)
    )


def remembered(store: Store, state: FileState) -> Version | None:
    """Return the version that is remembered as a file's base; None if the open branch does not contain it."""
    try:
        version = store.version(f"v{state.seq}")
    except RevisionError:
        return None
    return version if version.id == state.id else None


def proved(store: Store, state: FileState | None, digest: str) -> bool:
    """Return whether what a file holds is a version that can be read here, so that nothing is lost with the file.

    Args:
        store: The store.
        state: What is remembered of the file.
        digest: What it holds now.

    Cost: reads the version.
    """
    if state is None or state.digest != digest or state.dirty:
        return False
    try:
        if state.branch != store.branch:
            if state.branch not in store.branches():
                return False
            store = Store(store.backend, branch=state.branch)
        version = remembered(store, state)
        if version is not None and version.seq:
            store.checkout(version)
    except KBStoreError:
        return False
    return version is not None


def named_base(store: Store, revision: str, name: str = "") -> Version:
    """Return a version of the open branch that a change was made from.

    Args:
        store: The store.
        revision: What names it.
        name: What to call it in the error.

    Raises:
        RevisionError: There is none, or it is one of another branch.
    """
    try:
        version = store.version(revision)
        if version.seq == 0 or store.version(f"v{version.seq}").id == version.id:
            return version
    except RevisionError:
        if not name:
            raise
    raise RevisionError(
        f"the change was made from {name or version.name}, which branch {store.branch} does not contain",
        hint="kbstore diff --patch tests what it replaces, so its patch can be tried on another branch",
    )


def _with_content(
    store: Store, state: str, *, after: Version | None = None, limit: int | None = None
) -> Version | None:
    """Return the newest version whose content has this hash."""
    return next((version for version in store.log(after, limit=limit) if version.state == state), None)


def _contains(store: Store, state: FileState) -> bool:
    """Whether the branch that a file follows is in this store, with the version that the file was taken from."""
    branch = store.branch_now(state.branch)
    if branch is None or branch == store.branch:
        return False
    return remembered(Store(store.backend, branch=branch), state) is not None


def _refuse(store: Store, name: str, state: FileState) -> Version:
    base = f"{state.name or f'v{state.seq}'} ({state.id[:12]})"
    if _contains(store, state):
        raise BaseUnknown(
            f"{name} follows {state.branch}: it was taken from {base} of branch {state.branch}, "
            f"which branch {store.branch} does not contain",
            hint=f"kbstore --branch {state.branch} commit commits there; to leave it: kbstore checkout "
            f"--branch {store.branch}",
        )
    raise BaseUnknown(
        f"{name} was taken from {base}, which this store does not contain; its newest version is {store.head().name}",
        hint="kbstore diff REV compares the file with a version; kbstore commit --base REV commits what differs; "
        "kbstore checkout HEAD --force writes the newest version into the file, and keeps a copy",
    )
