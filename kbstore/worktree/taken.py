"""The version that a file was taken from, found by memory, else by content.

Invariants:

1. A remembered version counts only if the open branch of this store contains the version under the same id.
2. If the file equals a newer version than the remembered version, the newer version is the base: a command was killed
   before remembering the version, or the file came from elsewhere. The file then has no uncommitted changes. (A newer
   version with another order of members does not count: the file may still have the order of the remembered version.)
3. Without the remembered version, a version with the same content serves as well, because the changes since are the
   same.
4. Without such a version, the changes in the file cannot be known. This is an error, and never a guess.
"""

from kbstore.errors import KBStoreError, RevisionError
from kbstore.history.version import Version
from kbstore.store import Store
from kbstore.tree.builder import root_of
from kbstore.worktree.json_file import FileContent
from kbstore.worktree.project import FileState

_SEARCHED = 1_000
"""The number of newest versions to compare with a file without a remembered state."""


class BaseUnknown(KBStoreError):
    """The version that a file was taken from is not in this store."""


def find_base(store: Store, name: str, state: FileState | None, content: FileContent) -> Version:
    """Return the version that a file was taken from.

    If the file has no remembered state, and the newest versions do not have the same content, the base is the head.

    Args:
        store: The store.
        name: The name of the file, for messages.
        state: The remembered state of the file.
        content: The content of the file.

    Raises:
        BaseUnknown: The version is not here, and no other version has the same content, or that of the file.
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
        _refuse(store, name, state)  # equal content here may be at another point of that branch's history
    return (
        _with_content(store, held)
        or (_with_content(store, state.state) if state.state else None)
        or _refuse(store, name, state)
    )


def remembered(store: Store, state: FileState) -> Version | None:
    """Return the remembered base of a file; None if the open branch does not contain the version."""
    try:
        version = store.version(f"v{state.seq}")
    except RevisionError:
        return None
    return version if version.id == state.id else None


def proved(store: Store, state: FileState | None, digest: str) -> bool:
    """Return whether the content of a file is a readable version of this store, so that overwriting the file is safe.

    Args:
        store: The store.
        state: The remembered state of the file.
        digest: The digest of the file's current content.

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
    """Return the version of the open branch that a change was made from.

    Args:
        store: The store.
        revision: The revision that names the version.
        name: The name of the version, for the error message.

    Raises:
        RevisionError: The version does not exist, or belongs to another branch.
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
    """Return whether the store has the branch of a file, with the version that the file was taken from."""
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
