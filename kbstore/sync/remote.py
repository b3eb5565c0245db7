"""Copies of histories from store to store: ids unchanged, fast-forward only, all claims computed anew.

Events are copied first, then tags and branches in the order of their log, each after the versions that it names. So the
target is consistent at any moment, even while others write the source. All conflicts are found before anything is
copied. Each batch is one durable write, so an interrupted copy goes on at the same place. The target checks everything
again: hashes of patches, links of the chain, and the state after each event. Snapshots are not copied; each store takes
its own.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from shlex import quote
from urllib.parse import SplitResult, parse_qsl, urlsplit

from kbstore.commit.writer import Foreign
from kbstore.errors import ConflictError, CorruptStore, DamagedVersion, KBStoreError, RevisionError, SlotTaken
from kbstore.history.branch import MAIN_BRANCH, REFS_LOG
from kbstore.history.event import encode_body, event_id, plain_body, store_values
from kbstore.history.member_order import stored_order
from kbstore.history.ref_merge import Merge, Parted, RefRecord, Step, Value, counterpart, fold, merge_refs
from kbstore.history.refs import Refs, decode_ref
from kbstore.jsondoc.patch import parse_patch
from kbstore.store import Store
from kbstore.tree.node import Ref
from kbstore.tree.node_store import Nodes
from kbstore.worktree.json_file import mode_like
from kbstore.worktree.project import open_or_create

_BATCH_EVENTS = 256
_BATCH_BYTES = 4 << 20
_TRIES = 20
_SHOWN = 3
_PUT_ON_TOP = (
    "put the changes of this store on top of those of the other one: kbstore clone OTHER other.db, kbstore "
    "restore-backup other.db (which keeps this store), kbstore commit --base v{} -m TEXT; then push"
)
_COMMIT_AGAIN = "commit the changes of one on top of the other; versions are never rewritten"
Progress = Callable[[int, int], None]
"""Called for each branch with the target's newest version so far, and with the newest version to copy."""


@dataclass(frozen=True, slots=True)
class Copied:
    """The changes of a target by a copy.

    Attributes:
        versions: Number of versions added.
        refs: Number of changes of tags and branches added.
        left_out: Tags and branches left unchanged in the target.
    """

    versions: int
    refs: int
    left_out: tuple[str, ...] = ()


def replicate(
    source: Store,
    target: Store,
    progress: Progress | None = None,
    *,
    force: bool = False,
    accept_future: bool = False,
) -> Copied:
    """Bring a store up to date with another store.

    Args:
        source: The source; open on its main branch.
        target: The target; open on its main branch.
        progress: Called after each batch.
        force: Let tags that both stores set to other versions follow the source. A branch with other versions in each
            store stays as in the target, and everything on the source's branch is left out. Versions are never
            rewritten. If both stores started a branch of the same name independently, and the branches differ, the
            branch is left out in any case.
        accept_future: As for `Store.graft`.

    Returns:
        The changes of the target; empty if the target has everything already.

    Raises:
        ConflictError: Both stores have versions, tags or branches of their own in the same place; nothing was copied.
        CorruptStore: The content of the source is not as claimed; no event of the batch was copied.
        KBStoreError: Source and target are the same store.
    """
    refuse_itself(source.location, target.location)
    for _ in range(_TRIES):
        try:
            return _replicate(source, target, progress, force, accept_future)
        except SlotTaken:  # others committed to the target meanwhile; it may still be a fast-forward
            continue
    raise ConflictError(f"others kept committing to {target.location} during the copy", hint="try again")


def _replicate(source: Store, target: Store, progress: Progress | None, force: bool, accept_future: bool) -> Copied:
    # Read tags and branches first: the versions they name exist by then, whatever is committed meanwhile.
    records, there = _refs(source), _refs(target)
    newest = _newest(source)
    _refuse_parted(source, target, MAIN_BRANCH, 1, newest)
    ours, theirs = fold(records), fold(there)
    merge = _merge(source, target, records, there, force=force)
    versions = _copy_line(source, target, newest, progress, accept_future)
    for name, start in ours.lines.items():  # removed branches too: their versions have ids, and tags may name them
        other = counterpart(start, theirs)
        if other is not None and merge.left_out.isdisjoint({name, other}):
            versions += _copy_branch(source, target, name, other, progress, accept_future)
    for after, step in enumerate(merge.steps, len(there)):
        _take_ref(target, step, after)
        origin = step.event.origin or (event_id(step.header) if step.header is not None else "")
        if step.event.starts and origin in ours.origins:
            versions += _copy_branch(source, target, ours.origins[origin], step.event.name, progress, accept_future)
    return Copied(versions, len(merge.steps), tuple(sorted(merge.left_out)))


def _take_ref(target: Store, step: Step, after: int) -> None:
    if step.header is None:
        target.replay_ref(step.event, after=after)
        return
    try:
        target.graft_ref(step.header)
    except CorruptStore as fault:  # it followed before: others changed a tag or branch since
        raise SlotTaken(str(fault)) from fault


def _refs(store: Store) -> list[RefRecord]:
    """Return the changes of tags and branches.

    Raises:
        CorruptStore: A change does not follow the change before.
    """
    Refs(store.backend).read()
    return [RefRecord(decode_ref(r.header, r.number), r.header) for r in store.backend.read(REFS_LOG)]


def _merge(
    source: Store, target: Store, records: Sequence[RefRecord], there: Sequence[RefRecord], *, force: bool
) -> Merge:
    """Return the plan for tags and branches.

    Raises:
        ConflictError: Some were changed on both sides, and `force` is False.
    """
    ours, theirs = fold(records), fold(there)
    apart, kept = set(), set()
    for name, start in ours.lines.items():
        if (other := counterpart(start, theirs)) is None:
            continue
        here, beside = _branch(source, name), _branch(target, other)
        try:
            _refuse_parted(here, beside, ours.called(name), start.version + 1, _newest(here))
        except ConflictError:
            if not force and start.origin == theirs.lines[other].origin:
                raise
            apart |= {name, other}
        if name in ours.removed and other in theirs.branches and beside.head().seq > here.head().seq:
            kept.add(theirs.branches[other].origin)  # until the source has all its versions
    merge = merge_refs(records, there, force=force, apart=frozenset(apart), kept=frozenset(kept))
    if merge.parted and not force:
        raise _other_refs(source, target, merge.parted)
    return merge


def _copy_branch(
    source: Store, target: Store, name: str, other: str, progress: Progress | None, accept_future: bool
) -> int:
    here = _branch(source, name)
    return _copy_line(here, _branch(target, other), _newest(here), progress, accept_future)


def _branch(store: Store, branch: str) -> Store:
    try:
        return store.on(branch)
    except RevisionError as fault:  # the branch existed when the branches were read
        raise SlotTaken(str(fault)) from fault


def _refuse_parted(source: Store, target: Store, branch: str, first: int, newest: int) -> None:
    """Refuse two lines unless one continues the other; both are equal before `first`.

    Raises:
        ConflictError: Both have versions of their own.
        CorruptStore: A version is damaged that decides whether one line continues the other.
    """
    common = min(newest, _newest(target))
    if common >= first and not _is_shared(source, target, common):
        raise _parted(source, target, branch, first, common)


def _copy_line(source: Store, target: Store, newest: int, progress: Progress | None, accept_future: bool) -> int:
    """Add the versions up to `newest` that the target's line does not have."""
    there = _newest(target)
    copied = 0
    for batch in _batches(source, there + 1, newest):
        target.graft(batch, accept_future=accept_future)
        copied += len(batch)
        if progress is not None:
            progress(there + copied, newest)
    return copied


def _batches(source: Store, first: int, last: int) -> Iterator[list[Foreign]]:
    batch: list[Foreign] = []
    size = 0
    for foreign, length in sound_events(source, first, last):
        if batch and (len(batch) >= _BATCH_EVENTS or size + length > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(foreign)
        size += length
    if batch:
        yield batch


def sound_events(source: Store, first: int, last: int) -> Iterator[tuple[Foreign, int]]:
    """Yield events in the form for grafting, each with an approximate size in bytes.

    Raises:
        CorruptStore: An event is damaged; the hint explains how to save the rest.
    """
    try:
        yield from _events(source, first, last)
    except CorruptStore as fault:
        _name(fault, source)
        raise


def _events(source: Store, first: int, last: int) -> Iterator[tuple[Foreign, int]]:
    if first <= last:
        source.line.refuse_damaged_end()
    nodes = Nodes(source.backend)
    bodies = source.line.bodies(range(first, last + 1))
    for entry, order in source.orders.patches(source.line.entries(first, last, linked=True)):
        _, body = next(bodies)
        plain = plain_body(body, nodes)
        operations = store_values(parse_patch(plain, owned=True, limit=None))
        again = encode_body(operations)
        if sha256(again).hexdigest() != entry.event.patch:
            raise CorruptStore(f"version v{entry.event.seq} is damaged: its patch is not the one that was committed")
        rules = stored_order(order) if order is not None else None
        size = sum(op.value.size if isinstance(op.value, Ref) else 0 for op in (*operations, *(rules or ())))
        yield Foreign(f"v{entry.event.seq}", entry.event, entry.header, operations, rules), size + len(again)


def newest_common(one: Store, other: Store, low: int, high: int) -> int:
    """Return the newest version in the open branches of two stores, by a binary search.

    Args:
        one: A store.
        other: Another store.
        low: A version in both, or 0.
        high: A later version.

    Returns:
        A version from `low` to `high` - 1.

    Raises:
        CorruptStore: A version is damaged that decides which versions are in both.
    """
    while high - low > 1:
        middle = (low + high) // 2
        if _is_shared(one, other, middle):
            low = middle
        else:
            high = middle
    return low


def _is_shared(one: Store, other: Store, seq: int) -> bool:
    """Return whether two stores have the same version; then all versions before it are the same too."""
    with suppress(DamagedVersion):
        if one.line.entry(seq).id == other.line.entry(seq).id:
            return True
    return _proved_id(one, seq) == _proved_id(other, seq)  # the ids differ, or the header of one is damaged


def _newest(store: Store) -> int:
    try:
        return store.head().seq
    except CorruptStore as fault:
        _name(fault, store)
        raise


def _proved_id(store: Store, seq: int) -> str:
    try:
        return store.line.proved_id(seq)
    except CorruptStore as fault:
        _name(fault, store)
        raise


def _name(fault: CorruptStore, store: Store) -> None:
    """Add the store to an error about damage, and the way to save the rest."""
    fault.args = (f"{store.location}: {fault}", *fault.args[1:])
    fault.hint = (
        f"kbstore salvage DIR --store {quote(store.location)} writes all that can be proved of that store; "
        "kbstore import DIR/events.jsonl then takes the versions before the damage, and the versions behind it if the "
        "damaged version is already there"
    )


def _parted(source: Store, target: Store, branch: str, low: int, high: int) -> ConflictError:
    """Return the error for two diverged lines, with the last version that both share."""
    low = newest_common(source, target, low - 1, high)
    since = f"both have new versions after v{low}" if low else "their first versions differ"
    where = f" on branch {branch}" if branch != MAIN_BRANCH else ""
    return ConflictError(
        f"{source.location} and {target.location} have diverged{where}: {since}",
        hint=_PUT_ON_TOP.format(low) if low and branch == MAIN_BRANCH else _COMMIT_AGAIN,
    )


def _other_refs(source: Store, target: Store, parted: Sequence[Parted]) -> ConflictError:
    """Return the error for tags and branches that both stores changed."""
    told = [
        f"{name!r} is {_told(ours)} in {source.location} and {_told(theirs)} in {target.location}"
        for name, ours, theirs in parted[:_SHOWN]
    ]
    more = f", and {len(parted) - _SHOWN} more" if len(parted) > _SHOWN else ""
    return ConflictError(
        f"tags or settings have diverged: {', '.join(told)}{more}",
        hint="--force lets tags and settings follow the source",
    )


def _told(value: Value | None) -> str:
    if value is None:
        return "free"
    return f"set to {value.target}" if value.kind == "setting" else f"a {value.kind} at v{value.version}"


def refuse_itself(source: str, target: str) -> None:
    """Refuse two locations of the same store.

    Raises:
        KBStoreError: Both locations are the same store.
    """
    try:
        same = source == target or Path(source).samefile(target)
    except OSError:
        one, other = urlsplit(source), urlsplit(target)
        same = one.scheme != "" and _place(one) == _place(other)
    if same:
        raise KBStoreError(f"{target} is the store itself; nothing can be copied to it", hint="name another store")


def _place(url: SplitResult) -> tuple[str, str, str, str]:
    """Return the parts of a URL that identify the place; most options only configure the access."""
    options = dict(parse_qsl(url.query))
    return url.scheme, url.netloc, url.path.strip("/"), options.get("endpoint", "").rstrip("/")


def clone_into(
    source: Store, location: str, *, author: str = "", progress: Progress | None = None, accept_future: bool = False
) -> Copied:
    """Make a store with the whole content of another store, or go on with an interrupted clone.

    `accept_future` is as for `Store.graft`. A new file is as private as the source, if the source is a file.

    Raises:
        StoreNotFound: Something other than a store is at the location.
        ConflictError: A store with another history is at the location.
        KBStoreError: The location is the source itself.
    """
    refuse_itself(source.location, location)
    target, _ = open_or_create(location, mode_like(source.location), branch=MAIN_BRANCH, author=author)
    with target:
        try:
            return replicate(source, target, progress, accept_future=accept_future)
        except RevisionError as fault:
            raise ConflictError(f"{location} cannot take the history of {source.location}: {fault}") from fault
