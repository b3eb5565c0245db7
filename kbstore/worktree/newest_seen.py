"""Detection of an older copy of a project's store: the newest version seen is remembered beside the store.

``.kbstore/newest.json`` holds this version for each store and branch. The file is not a part of the truth: if the file
is deleted, the store is accepted as it is.
"""

import msgspec

from kbstore.errors import RevisionError
from kbstore.store import Store
from kbstore.worktree.project import FOLDER, Project, ProjectError, print_state, read_state, write_state

NAME = "newest.json"


class Mark(msgspec.Struct, frozen=True):
    """A version seen before: number, id and full name."""

    seq: int
    id: str
    name: str


class _Marks(msgspec.Struct, frozen=True):
    """The newest versions seen, by the store's location in the configuration and by branch."""

    stores: dict[str, dict[str, Mark]] = {}


def missing(project: Project, store: Store) -> Mark | None:
    """Return the version seen in a store's open branch before and missing now; None if all is well."""
    mark = _marks(project).stores.get(project.config.store, {}).get(store.branch)
    return None if mark is None or _has(store, mark) else mark


def told(mark: Mark, store: Store) -> str:
    """Return the sentence that reports a missing version.

    Raises:
        DamagedVersion: The version is not missing, but damaged.
    """
    if mark.seq == store.head().seq:
        store.line.refuse_damaged_end()
    return (
        f"{mark.name} was in this store, and is not any more; the newest version is {store.head().name}: "
        "the store is an older copy, or another one"
    )


def refuse_older(project: Project, store: Store) -> None:
    """Refuse to write to a store if a version seen there before is missing.

    Raises:
        ProjectError: The store has lost a version.
    """
    if (mark := missing(project, store)) is not None:
        place = project.root / FOLDER / NAME
        raise ProjectError(
            told(mark, store),
            hint=f"put the newer store back, or kbstore pull from a copy of it; if it is lost, remove {place}",
        )


def remember(project: Project, store: Store, *, always: bool = False) -> None:
    """Remember the newest version of a store's open branch, unless the version remembered so far is missing.

    Args:
        project: The project.
        store: The store.
        always: Remember the newest version also if the earlier version is missing: accept the current store.

    Raises:
        ProjectError, WorkFileError: The file ``newest.json`` cannot be written.
    """
    head = store.head()
    marks = _marks(project)
    mark = marks.stores.get(project.config.store, {}).get(store.branch)
    if not head.seq or (mark is not None and (mark.id == head.id or not (always or _has(store, mark)))):
        return
    branches = {**marks.stores.get(project.config.store, {}), store.branch: Mark(head.seq, head.id, head.name)}
    text = print_state(_Marks({**marks.stores, project.config.store: branches}))
    write_state(project.root / FOLDER / NAME, text)


def forget(project: Project) -> None:
    """Forget the versions seen in a project's store, so the current store is accepted from now on.

    Raises:
        ProjectError, WorkFileError: The file ``newest.json`` cannot be written.
    """
    marks = _marks(project).stores
    if project.config.store in marks:
        left = {store: branches for store, branches in marks.items() if store != project.config.store}
        write_state(project.root / FOLDER / NAME, print_state(_Marks(left)))


def _marks(project: Project) -> _Marks:
    try:
        return read_state(project.root / FOLDER / NAME, _Marks)
    except ProjectError:  # the file is missing or damaged: nothing is remembered
        return _Marks()


def _has(store: Store, mark: Mark) -> bool:
    try:
        return store.version(f"v{mark.seq}").id == mark.id
    except RevisionError:
        return False
