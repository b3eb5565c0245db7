"""Copies histories from store to store, as they are: ids unchanged, fast-forward only, everything computed anew.

What is copied is events, then tags and branches in the order of their log. Each batch is one durable write, so a copy
that was cut short goes on where it stopped. What the target receives it checks: hashes of patches, links of the chain,
and the state that each event leads to. Snapshots are not copied; each store takes its own.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256

from kbstore.errors import ConflictError, CorruptStore, RevisionError, SlotTaken
from kbstore.event import encode_body, plain_body, store_values
from kbstore.log import MAIN_BRANCH, REFS_LOG, Line
from kbstore.patch import parse_patch
from kbstore.project import open_or_create
from kbstore.refs import decode_ref
from kbstore.store import Store
from kbstore.tree.node import Ref
from kbstore.tree.nodes import Nodes
from kbstore.workfile import mode_like
from kbstore.writer import Foreign

_BATCH_EVENTS = 256
_BATCH_BYTES = 4 << 20
_TRIES = 20
Progress = Callable[[int, int], None]
"""Told how many versions of how many were copied."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy added to its target.

    Attributes:
        versions: How many versions.
        refs: How many changes of tags and branches.
    """

    versions: int
    refs: int


def replicate(source: Store, target: Store, progress: Progress | None = None) -> Copied:
    """Bring a store up to date with another.

    Args:
        source: Where from; open on its main branch.
        target: Where to; open on its main branch.
        progress: Told of each batch.

    Returns:
        What was added; nothing where the target has all that the source has.

    Raises:
        ConflictError: The target has versions, tags or branches that the source has not, in the place of its own.
        CorruptStore: What the source holds is not what it claims to be; nothing of the batch was copied.
    """
    for _ in range(_TRIES):
        try:
            return _replicate(source, target, progress)
        except SlotTaken:  # somebody commits to the target meanwhile; it may still be a fast-forward
            continue
    raise ConflictError(f"others kept committing to {target.location} while it was copied to", hint="try again")


def _replicate(source: Store, target: Store, progress: Progress | None) -> Copied:
    versions = _copy_line(source, target, MAIN_BRANCH, 1, progress)
    refs = 0
    for record in source.backend.read(REFS_LOG):
        event = decode_ref(record.header, record.number)
        try:
            refs += target.graft_ref(record.header)
        except CorruptStore as fault:
            raise ConflictError(
                f"tags and branches of {source.location} and {target.location} have parted: {fault}",
                hint="set the tags of one of them anew, in the other's order",
            ) from fault
        if event.kind == "branch":
            here, there = Store(source.backend, branch=event.name), Store(target.backend, branch=event.name)
            versions += _copy_line(here, there, event.name, event.version + 1, progress)
    return Copied(versions, refs)


def _copy_line(source: Store, target: Store, branch: str, first: int, progress: Progress | None) -> int:
    """Add what the source's line has and the target's has not; both lines are the same before `first`."""
    newest, there = source.head().seq, target.head().seq
    common = min(newest, there)
    if common >= first and _id_at(source, common) != _id_at(target, common):
        raise _parted(source, target, branch, first, common)
    copied = 0
    for batch in _batches(source, there + 1, newest):
        target.graft(batch)
        copied += len(batch)
        if progress is not None:
            progress(there + copied, newest)
    return copied


def _batches(source: Store, first: int, last: int) -> Iterator[list[Foreign]]:
    batch: list[Foreign] = []
    size = 0
    for foreign, length in _events(source.line, Nodes(source.backend), first, last):
        if batch and (len(batch) >= _BATCH_EVENTS or size + length > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(foreign)
        size += length
    if batch:
        yield batch


def _events(line: Line, nodes: Nodes, first: int, last: int) -> Iterator[tuple[Foreign, int]]:
    """Events as they can be grafted, each with about how many bytes it takes."""
    bodies = line.bodies(range(first, last + 1))
    for entry in line.entries(first, last):
        _, body = next(bodies)
        plain = plain_body(body, nodes)
        operations = store_values(parse_patch(plain, owned=True, limit=None))
        again = encode_body(operations)
        if sha256(again).hexdigest() != entry.event.patch:
            raise CorruptStore(
                f"the patch of v{entry.event.seq} is not the one that was committed", hint="run kbstore verify there"
            )
        size = sum(op.value.size if isinstance(op.value, Ref) else 0 for op in operations)
        yield Foreign(f"v{entry.event.seq}", entry.event, entry.header, operations), size + len(again)


def _id_at(store: Store, seq: int) -> str:
    return store.line.entry(seq).id


def _parted(source: Store, target: Store, branch: str, low: int, high: int) -> ConflictError:
    """The refusal of lines that are not one another's continuation, with the last version that they share."""
    low -= 1
    while high - low > 1:
        middle = (low + high) // 2
        if _id_at(source, middle) == _id_at(target, middle):
            low = middle
        else:
            high = middle
    where = f"after v{low}" if low else "from the beginning"
    return ConflictError(
        f"the histories of {source.location} and {target.location} have parted {where}"
        + (f" on branch {branch}" if branch != MAIN_BRANCH else ""),
        hint="commit what is missing on top of the other one; versions are never rewritten",
    )


def clone_into(source: Store, location: str, *, author: str = "", progress: Progress | None = None) -> Copied:
    """Make a store that holds all of another, or go on with one that was begun.

    A new file is as private as the source, where that is a file.

    Raises:
        StoreNotFound: What is there is no store.
        ConflictError: There is a store already, with another history.
    """
    target, _ = open_or_create(location, mode_like(source.location), branch=MAIN_BRANCH, author=author)
    with target:
        try:
            return replicate(source, target, progress)
        except RevisionError as fault:
            raise ConflictError(f"{location} cannot take the history of {source.location}: {fault}") from fault
