"""Import and export of histories as JSON Lines: documents with author, time and message, or events as they are.

A line with a document has ``document`` and, if known, ``author``, ``time``, ``message`` and ``tags``; each line becomes
one version. A line with an exported event has ``event`` (the header), ``id`` and ``patch`` (plain RFC 6902), ``order``
(the patch of the rules for members' order) if the event changes the rules, and ``branch`` for an event outside of the
main line. A change of a tag or branch has ``ref`` and ``id``.

Events keep their ids: all claims of an event are computed anew before the event is added. A salvaged history is
imported up to the first lost event of each branch (``patch`` or ``order`` is null, or ``lost`` is the number of events
missing before it), with the tags, settings and branches that do not need a lost event. An event that the store has is
not lost: the events behind it are imported too.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import msgspec
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from kbstore.commit.writer import Foreign
from kbstore.errors import CorruptStore, KBStoreError, OutcomeUnknown, PatchError, RevisionError
from kbstore.history.branch import MAIN_BRANCH, REFS_LOG
from kbstore.history.event import Event, decode_event, encode_body, event_id, store_values
from kbstore.history.member_order import stored_order
from kbstore.history.refs import RefEvent, Refs, decode_ref
from kbstore.jsondoc.canonical import encode
from kbstore.jsondoc.patch import Operation, parse_patch
from kbstore.kit.clock import MOST_AHEAD, SystemClock, format_time, parse_time
from kbstore.sync.jsonl_reader import READ_FAULTS, ImportFailed, cut_short, kind_of, read_line

if TYPE_CHECKING:
    from kbstore.store import Store

_BATCH_EVENTS = 100
_BATCH_BYTES = 32 << 20
_EXPORT_AGAIN = "export it from its store again"


class _DocumentLine(BaseModel):
    """A line with a whole document."""

    model_config = ConfigDict(extra="ignore", strict=True)

    document: Any
    author: str = ""
    message: str = ""
    tags: list[str] = []
    time: datetime | None = None

    @field_validator("time", mode="before")
    @classmethod
    def _any_iso_time(cls, value: object) -> object:
        if isinstance(value, str):
            try:
                return parse_time(value)
            except ValueError:
                pass
        elif value is None or isinstance(value, datetime):
            return value
        raise PydanticCustomError("time", "it is not a time; write it as 2025-01-27T12:00:00Z")


class _EventLine(BaseModel):
    """A line with an exported event."""

    model_config = ConfigDict(extra="ignore", strict=True)

    event: dict[str, Any]
    id: str
    patch: list[dict[str, Any]]
    order: list[dict[str, Any]] | None = None
    branch: str = MAIN_BRANCH


class _RefLine(BaseModel):
    """A line with an exported change of a tag or branch."""

    model_config = ConfigDict(extra="ignore", strict=True)

    ref: dict[str, Any]
    id: str


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of an import.

    Attributes:
        versions: Number of versions added.
        known: Number of exported events known already.
        refs: Number of changes of tags and branches added.
        stopped_at: Line number of the first lost event in a salvaged history, else 0.
        left_out: Number of lines left out: the line of the lost event, and later lines that need a lost version.
        notes: Remarks on the imported documents, each once (see `Version.notes`); and the tags and branches left out.
    """

    versions: int = 0
    known: int = 0
    refs: int = 0
    stopped_at: int = 0
    left_out: int = 0
    notes: tuple[str, ...] = ()

    def __add__(self, other: "Imported") -> "Imported":
        return Imported(
            self.versions + other.versions,
            self.known + other.known,
            self.refs + other.refs,
            self.stopped_at + other.stopped_at,
            self.left_out + other.left_out,
            tuple(dict.fromkeys([*self.notes, *other.notes])),
        )


def import_lines(
    store: "Store",
    lines: Iterable[bytes],
    *,
    write_id: str | None = None,
    accept_future: bool = False,
    landed: Callable[[Imported], None] | None = None,
) -> Imported:
    """Add a version for each line, in batches that land whole or not at all.

    Args:
        store: The target.
        lines: JSON lines, of documents or of exported events; blank lines are skipped.
        write_id: Identifies this import: repeated with the same id, lines that landed do not land again.
        accept_future: As for `Store.graft`. For a document dated in the future, the version has the date only as
            `authored`.
        landed: Called after each batch with the result so far, which stays if the import fails. In a repeated import,
            only `write_id` keeps documents from landing again; events keep their ids.

    Raises:
        ImportFailed: A line cannot be added; all lines before its batch were added.
        OutcomeUnknown: A batch may or may not have landed; all earlier batches did. The error carries the given
            `write_id`.
    """
    try:
        return _import_lines(store, lines, write_id, accept_future, landed)
    except OutcomeUnknown as fault:
        if write_id is not None:
            raise OutcomeUnknown(str(fault), write_id=write_id) from fault
        raise


def _import_lines(
    store: "Store",
    lines: Iterable[bytes],
    write_id: str | None,
    accept_future: bool,
    landed: Callable[[Imported], None] | None,
) -> Imported:
    done = Imported()
    batch: list[tuple[int, dict[str, Any]]] = []
    size = 0
    kind = ""
    batches = _BatchIds(write_id)
    started: _Started = {}

    def add(more: Imported) -> None:
        nonlocal done
        done += more
        if landed is not None:
            landed(done)

    try:
        numbered = enumerate(lines, 1)
        for number, line in numbered:
            if not line.strip():
                continue
            value = read_line(number, line)
            this = kind_of(number, value)
            branch = _branch_of(number, value)
            if this == "event" and _is_damaged(value):
                if batch:
                    add(_take(store, kind, batch, batches.next(), accept_future, started))
                    batch, size = [], 0
                if _is_known(store, number, value, branch, started):
                    add(Imported(known=1))
                    continue
                if not _follows(store, number, value, branch, started):
                    add(Imported(stopped_at=number, left_out=1))
                    _take_rest(store, branch, numbered, accept_future, started, add)
                    break
            if this == "event" and branch != MAIN_BRANCH:
                this = f"event {branch}"
            # Changes of tags and branches land one by one, so that the landed ones are counted.
            if batch and (this != kind or this == "ref" or len(batch) >= _BATCH_EVENTS or size > _BATCH_BYTES):
                add(_take(store, kind, batch, batches.next(), accept_future, started))
                batch, size = [], 0
            kind = this
            batch.append((number, value))
            batches.add(number, line)
            size += len(line)
    except READ_FAULTS as fault:
        raise cut_short(fault) from fault
    if batch:
        add(_take(store, kind, batch, batches.next(), accept_future, started))
    return done


def _branch_of(number: int, value: dict[str, Any]) -> str:
    """Return the branch of the event on a line, even if the branch does not exist; by default the main branch."""
    branch = value.get("branch", MAIN_BRANCH) if "event" in value else MAIN_BRANCH
    if not isinstance(branch, str):
        raise ImportFailed(f"line {number}: branch: it is not a name", line=number)
    return branch


def _is_damaged(value: dict[str, Any]) -> bool:
    """Return whether a part of an event is lost, or events before it."""
    return None in (value.get("patch", 0), value.get("order", 0)) or "lost" in value


def _is_known(store: "Store", number: int, value: dict[str, Any], branch: str, started: "_Started") -> bool:
    """Return whether the store has the event of a line; only the header of the line is needed."""
    event = _event_of(number, value)
    return event is not None and _has(store, branch, started, event.seq, event_id(encode(value["event"])))


def _follows(store: "Store", number: int, value: dict[str, Any], branch: str, started: "_Started") -> bool:
    """Return whether the event of a line is whole, and the store has the event before it."""
    if None in (value.get("patch", 0), value.get("order", 0)):
        return False
    event = _event_of(number, value)
    return event is not None and bool(event.parents) and _has(store, branch, started, event.seq - 1, event.parents[0])


def _event_of(number: int, value: dict[str, Any]) -> Event | None:
    """Return the event of a line; None if the event cannot be read, and so is lost as well."""
    try:
        return decode_event(encode(value["event"]), f"line {number}")
    except CorruptStore:
        return None


def _has(store: "Store", branch: str, started: "_Started", seq: int, ident: str) -> bool:
    try:
        line = _target(store, branch, started)
    except RevisionError:
        return False
    return 1 <= seq <= line.head().seq and line.line.proved_id(seq) == ident


class _BatchIds:
    """Write ids of batches, made from the import's write id and from the lines of each batch with their numbers."""

    def __init__(self, write_id: str | None) -> None:
        self._write_id = write_id
        self._digest = sha256()

    def add(self, number: int, line: bytes) -> None:
        self._digest.update(b"%d %d " % (number, len(line)) + line)

    def next(self) -> str | None:
        """Return the id for the lines added since the last call; None if the import has no write id."""
        made, self._digest = self._digest.digest(), sha256()
        return sha256(self._write_id.encode() + made).hexdigest()[:32] if self._write_id is not None else None


def export_events(
    store: "Store", first: int = 1, last: int | None = None, *, branch: str = MAIN_BRANCH
) -> Iterator[bytes]:
    """Yield versions `first` to `last` of the open branch as JSON Lines, each with its line feed.

    Args:
        store: The store.
        first: The first seq.
        last: The last seq; by default the head's.
        branch: The target branch for an import.

    Raises:
        DamagedVersion: The header or patch of a version is not as it was written.
    """
    if last is None:
        store.line.refuse_damaged_end()
    where = b"" if branch == MAIN_BRANCH else b'"branch":%s,' % encode(branch)
    for version in store.log(f"v{first - 1}", f"v{last}" if last is not None else None, newest_first=False):
        if version.entry is None:
            continue  # the empty beginning is not an event
        ((_, order),) = store.orders.patches([version.entry])
        told = b'"order":%s,' % encode(order) if order is not None else b""
        line = b'{%s"event":%s,"id":"%s",%s"patch":%s}\n'
        yield line % (where, version.entry.header, version.id.encode(), told, encode(version.patch))


def export_all(store: "Store") -> Iterator[bytes]:
    """Yield all versions, tags and branches as JSON Lines: the main line, then each change of a tag or branch in order.

    A branch's own versions follow the line that starts the branch. While others write the store, the export is a
    consistent beginning of the history: tags and branches as of the start of the export, and at least all versions that
    they name.

    Args:
        store: The store, open on its main branch.
    """
    changes = list(store.backend.read(REFS_LOG))  # read first, so that the versions they name are exported
    refs = Refs(store.backend).read()
    yield from export_events(store)
    for record in changes:
        event = decode_ref(record.header, record.number)
        yield b'{"id":"%s","ref":%s}\n' % (event_id(record.header).encode(), record.header)
        if event.starts and event.log in refs.logs:  # by the branch's name now
            branch = store.on(refs.logs[event.log])
            yield from export_events(branch, event.version + 1, branch=event.name)


_Started = dict[str, str]
"""The ids of branches started by lines, by the names in the lines; the store may use other names."""


def _take(
    store: "Store",
    kind: str,
    batch: list[tuple[int, dict[str, Any]]],
    write_id: str | None,
    accept_future: bool,
    started: _Started,
) -> Imported:
    if kind == "document":
        return _take_documents(store, batch, write_id, accept_future)
    if kind == "ref":
        return Imported(refs=_take_refs(store, batch, started))
    try:
        target = _target(store, kind.removeprefix("event").lstrip() or MAIN_BRANCH, started)
        return _take_events(target, batch, accept_future)
    except RevisionError as fault:
        raise ImportFailed(f"line {batch[0][0]}: {fault}", line=batch[0][0]) from fault


def _target(store: "Store", branch: str, started: _Started) -> "Store":
    """Return the store, open on the branch that a line names.

    Raises:
        RevisionError: The store does not have the branch.
    """
    if branch in started:
        branch = Refs(store.backend).read().origins.get(started[branch], branch)
    return store if branch == MAIN_BRANCH else store.on(branch)


def _take_refs(store: "Store", batch: list[tuple[int, dict[str, Any]]], started: _Started) -> int:
    added = 0
    for number, value in batch:
        header, event = _checked_ref(number, value)
        if event.starts:
            started[event.name] = event.origin or event_id(header)
        try:
            added += store.graft_ref(header)
        except KBStoreError as fault:
            hint = fault.hint or _EXPORT_AGAIN
            raise ImportFailed(f"line {number}, a tag or branch: {fault}", line=number, hint=hint) from fault
    return added


def _take_rest(
    store: "Store",
    stopped: str,
    numbered: Iterable[tuple[int, bytes]],
    accept_future: bool,
    started: _Started,
    add: Callable[[Imported], None],
) -> None:
    """Import the lines behind a lost event: tags, settings, branches and their versions.

    A line that needs a lost event is left out.

    Args:
        store: The target.
        stopped: The branch with the lost event.
        numbered: The lines behind the lost event, by number.
        accept_future: As for `import_lines`.
        started: The branches started by earlier lines.
        add: Called with each result.
    """
    ended = {stopped}
    batch: list[tuple[int, dict[str, Any]]] = []
    where = ""
    known = {decode_ref(r.header, r.number).origin or event_id(r.header) for r in store.backend.read(REFS_LOG)}
    for number, line in numbered:
        if not line.strip():
            continue
        value = read_line(number, line)
        kind = kind_of(number, value)
        branch = _branch_of(number, value)
        damaged = kind == "event" and branch not in ended and _is_damaged(value)
        if batch and (kind != "event" or branch != where or len(batch) >= _BATCH_EVENTS or damaged):
            add(_take(store, f"event {where}", batch, None, accept_future, started))
            batch = []
        if damaged and _is_known(store, number, value, branch, started):
            add(Imported(known=1))
            continue
        if damaged and not _follows(store, number, value, branch, started):
            ended.add(branch)
        if kind == "event" and branch not in ended:
            where = branch
            batch.append((number, value))
        elif kind == "ref":
            add(_take_behind(store, number, value, ended, known, started))
        else:
            add(Imported(left_out=1))
    if batch:
        add(_take(store, f"event {where}", batch, None, accept_future, started))


def _take_behind(
    store: "Store", number: int, value: dict[str, Any], ended: set[str], known: set[str], started: _Started
) -> Imported:
    """Make a change of a tag, branch or setting anew if the version that it names is here; else leave the change out.

    Args:
        store: The target.
        number: The line number.
        value: The content of the line.
        ended: Branches without further versions; a branch that is left out is added.
        known: Ids of the changes in the target.
        started: Receives the branch started by the line.
    """
    header, event = _checked_ref(number, value)
    ident = event.origin or event_id(header)
    if event.starts:
        started[event.name] = ident
    if ident in known:
        return Imported()
    try:
        after = store.backend.tail(REFS_LOG).number
        store.replay_ref(msgspec.structs.replace(event, origin=ident), after=after)
    except CorruptStore:
        if event.kind == "branch":
            ended.add(event.name)
        lost = f"v{event.version} of {event.branch}, which it names, is lost"
        if event.kind == "branch" and not event.starts:
            lost = f"the start of {(event.old or event.name)!r} is lost"
        what = f"the {event.kind} {event.name!r} was left out: {lost}"
        return Imported(left_out=1, notes=(what,))
    known.add(ident)
    return Imported(refs=1)


def _checked_ref(number: int, value: dict[str, Any]) -> tuple[bytes, RefEvent]:
    """Return the header and the content of a change of a tag, branch or setting, after a check of its id."""
    try:
        line = _RefLine.model_validate(value)
        header = encode(line.ref)
        event = decode_ref(header, number)
        if event_id(header) != line.id or event.encode() != header:
            raise CorruptStore("it was changed after it was exported", hint=_EXPORT_AGAIN)
    except ValidationError as fault:
        raise ImportFailed(f"line {number}: {_first_fault(fault)}", line=number) from None
    except KBStoreError as fault:
        raise ImportFailed(f"line {number}, a tag or branch: {fault}", line=number, hint=fault.hint) from fault
    return header, event


def _take_documents(
    store: "Store", batch: list[tuple[int, dict[str, Any]]], write_id: str | None, accept_future: bool
) -> Imported:
    from kbstore.history.change import Change, OwnId

    changes = []
    latest = SystemClock().now() + MOST_AHEAD
    for number, value in batch:
        try:
            line = _DocumentLine.model_validate(value)
        except ValidationError as fault:
            raise ImportFailed(f"line {number}: {_first_fault(fault)}", line=number) from None
        if line.time is not None and line.time > latest and not accept_future:
            raise ImportFailed(
                f"line {number} is dated {format_time(line.time)}, more than a day ahead of this machine's clock",
                line=number,
                hint="if it is right, use --accept-future: the version has the time of now, and this as 'authored'",
            )
        changes.append(Change(line.document, None, line.message, line.author, line.tags, line.time, allow_empty=True))
    # The id is made of the lines.
    versions = store.commit_many(changes, write_id=OwnId(write_id) if write_id is not None else None)
    return Imported(len(versions), notes=tuple(dict.fromkeys(note for version in versions for note in version.notes)))


def _take_events(store: "Store", batch: list[tuple[int, dict[str, Any]]], accept_future: bool) -> Imported:
    known = 0
    fresh: list[Foreign] = []
    line = 0  # of the first new event
    head = store.head().seq
    for number, value in batch:
        event, header, operations, order = _checked_event(number, value)
        if event.seq <= head + len(fresh):
            _refuse_another(number, event, header, _there(store, fresh, event.seq, head))
            known += 1
            continue
        line = line or number
        fresh.append(Foreign(f"line {number}", event, header, operations, order))
    if fresh:
        try:
            store.graft(fresh, accept_future=accept_future)
        except CorruptStore as fault:
            raise ImportFailed(str(fault), line=line, hint=fault.hint or _EXPORT_AGAIN) from fault
    return Imported(len(fresh), known)


def _there(store: "Store", fresh: list[Foreign], seq: int, head: int) -> str:
    """Return the id of a version that is in the store, or earlier in the same batch."""
    if seq <= head:
        return store.version(seq).id
    return next((event_id(one.header) for one in fresh if one.event.seq == seq), "")


def _refuse_another(number: int, event: Event, header: bytes, there: str) -> None:
    if there != event_id(header):
        raise ImportFailed(
            f"line {number} is v{event.seq} {event_id(header)[:12]}, but this store has another v{event.seq} "
            f"({there[:12]}): the histories have diverged",
            line=number,
            hint="import it into a new store",
        )


def _checked_event(number: int, value: dict[str, Any]) -> tuple[Event, bytes, list[Operation], list[Operation] | None]:
    try:
        line = _EventLine.model_validate(value)
        header = encode(line.event)
        event = decode_event(header, f"line {number}")
        event.check_times()
        operations = store_values(parse_patch(line.patch, owned=True, limit=None))
        order = stored_order(line.order) if line.order is not None and event.order is not None else None
    except ValidationError as fault:
        raise ImportFailed(f"line {number}: {_first_fault(fault)}", line=number) from None
    except PatchError as fault:
        raise ImportFailed(f"line {number}: {fault}", line=number) from fault
    except KBStoreError as fault:
        raise ImportFailed(str(fault), line=number, hint=fault.hint) from fault
    if event_id(header) != line.id or event.encode() != header:
        raise ImportFailed(
            f"line {number}: the event does not have the id {line.id!r}; it was changed after it was exported",
            line=number,
            hint=_EXPORT_AGAIN,
        )
    if sha256(encode_body(operations)).hexdigest() != event.patch:
        raise ImportFailed(
            f"line {number}: the patch is not the one that v{event.seq} names", line=number, hint=_EXPORT_AGAIN
        )
    return event, header, operations, order


def _first_fault(fault: ValidationError) -> str:
    first = fault.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else str(first["msg"])
