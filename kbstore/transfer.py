"""Carries histories in and out as JSON lines: documents with who, when and why, or events as they are.

A line of documents has ``document`` and, where known, ``author``, ``time``, ``message`` and ``tags``; each line
becomes one version. An exported event has ``event`` (the header), ``id`` and ``patch`` (plain RFC 6902); a change of
a tag or branch has ``ref`` and ``id``. Events keep their ids: everything that they claim is computed anew before they
are taken in.
"""

import gzip
import io
import lzma
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from itertools import chain
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from kbstore.canonical import encode, loads
from kbstore.clock import parse_time
from kbstore.errors import CorruptStore, InvalidJSON, KBStoreError, PatchError
from kbstore.event import Event, decode_event, encode_body, event_id, store_values
from kbstore.patch import Operation, parse_patch
from kbstore.writer import Foreign

if TYPE_CHECKING:
    from kbstore.store import Store

_BATCH_EVENTS = 100
_BATCH_BYTES = 32 << 20
_LONGEST_LINE_BYTES = 1 << 30
_READ_FAULTS = (OSError, EOFError, lzma.LZMAError, zlib.error)
_GZIP, _XZ = b"\x1f\x8b", b"\xfd7zXZ\x00"
_LINE_HINT = (
    'a line is {"document": ..., "author": ..., "time": ..., "message": ...}, or as kbstore export writes it; '
    "the history of one JSON file is started with: kbstore init FILE"
)


class ImportFailed(KBStoreError):
    """A line cannot be taken in. What stood before it was; the message names the line.

    Attributes:
        line: 1-based number of the line.
    """

    def __init__(self, message: str, *, line: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.line = line


class _DocumentLine(BaseModel):
    """A line that carries a whole document."""

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
        raise PydanticCustomError("time", "it names no time; write it as 2025-01-27T12:00:00Z")


class _EventLine(BaseModel):
    """A line that carries an exported event."""

    model_config = ConfigDict(extra="ignore", strict=True)

    event: dict[str, Any]
    id: str
    patch: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did.

    Attributes:
        versions: How many versions were added.
        known: How many exported events were there already.
    """

    versions: int
    known: int


def unpacked(stream: BinaryIO) -> Iterator[bytes]:
    """The lines of a stream that is plain, or packed by gzip or xz, whatever its name."""
    buffered = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(cast(io.RawIOBase, stream))
    start = buffered.peek(len(_XZ))
    if start.startswith(_GZIP):
        return iter(gzip.GzipFile(fileobj=buffered))
    if start.startswith(_XZ):
        return iter(lzma.LZMAFile(buffered))
    return iter(buffered)


def checked_first(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The same lines, after the first that is not blank was found to be one that can be imported.

    Raises:
        ImportFailed: It is none.
    """
    rest = iter(lines)
    blank = 0
    try:
        for line in rest:
            if line.strip():
                _kind(blank + 1, _read(blank + 1, line))
                return chain([b"\n"] * blank, [line], rest)
            blank += 1
    except _READ_FAULTS as fault:
        raise _cut_short(fault) from fault
    return iter(())


def import_lines(store: "Store", lines: Iterable[bytes]) -> Imported:
    """Add a version for each line, in batches that land whole or not at all.

    Args:
        store: Where to.
        lines: JSON lines, of documents or of exported events; blank ones are passed over.

    Raises:
        ImportFailed: A line cannot be taken in; all lines before its batch were.
    """
    added = known = 0
    batch: list[tuple[int, dict[str, Any]]] = []
    size = 0
    kind = ""
    try:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            value = _read(number, line)
            this = _kind(number, value)
            if this == "ref":
                continue
            if batch and (this != kind or len(batch) >= _BATCH_EVENTS or size > _BATCH_BYTES):
                more, there = _take(store, kind, batch)
                added, known, batch, size = added + more, known + there, [], 0
            kind = this
            batch.append((number, value))
            size += len(line)
    except _READ_FAULTS as fault:
        raise _cut_short(fault) from fault
    if batch:
        more, there = _take(store, kind, batch)
        added, known = added + more, known + there
    return Imported(added, known)


def export_events(store: "Store", first: int = 1, last: int | None = None) -> Iterator[bytes]:
    """Versions `first` to `last` of the open branch as JSON lines, each with its line feed."""
    for version in store.log(f"v{first - 1}", f"v{last}" if last is not None else None, newest_first=False):
        assert version.entry is not None
        line = b'{"event":%s,"id":"%s","patch":%s}\n'
        yield line % (version.entry.header, version.id.encode(), encode(version.patch))


def _cut_short(fault: Exception) -> KBStoreError:
    return KBStoreError(f"the file cannot be read to its end: {fault}", hint="is it cut short?")


def _read(number: int, line: bytes) -> dict[str, Any]:
    if len(line) > _LONGEST_LINE_BYTES:
        raise ImportFailed(f"line {number} is longer than {_LONGEST_LINE_BYTES:,} bytes", line=number)
    try:
        value = loads(line.rstrip(b"\r\n"))
    except InvalidJSON as fault:
        where = str(fault).removeprefix("line 1, ")
        raise ImportFailed(
            f"line {number}, {where}", line=number, hint=fault.hint or (_LINE_HINT if number == 1 else None)
        ) from fault
    if not isinstance(value, dict):
        raise ImportFailed(f"line {number} is not an object", line=number, hint=_LINE_HINT)
    return value


def _kind(number: int, value: dict[str, Any]) -> str:
    for kind in ("event", "ref", "document"):
        if kind in value:
            return kind
    raise ImportFailed(f"line {number} has neither a document nor an event", line=number, hint=_LINE_HINT)


def _take(store: "Store", kind: str, batch: list[tuple[int, dict[str, Any]]]) -> tuple[int, int]:
    return _take_events(store, batch) if kind == "event" else (_take_documents(store, batch), 0)


def _take_documents(store: "Store", batch: list[tuple[int, dict[str, Any]]]) -> int:
    from kbstore.store import Change

    changes = []
    for number, value in batch:
        try:
            line = _DocumentLine.model_validate(value)
        except ValidationError as fault:
            raise ImportFailed(f"line {number}: {_first_fault(fault)}", line=number) from None
        changes.append(Change(line.document, None, line.message, line.author, line.tags, line.time, allow_empty=True))
    return len(store.commit_many(changes))


def _take_events(store: "Store", batch: list[tuple[int, dict[str, Any]]]) -> tuple[int, int]:
    known = 0
    fresh: list[Foreign] = []
    head = store.head().seq
    for number, value in batch:
        event, header, operations = _checked_event(number, value)
        if event.seq <= head:
            there = store.version(event.seq)
            if there.id != event_id(header):
                raise ImportFailed(
                    f"line {number} is v{event.seq} {event_id(header)[:12]}, but this store has another v{event.seq} "
                    f"({there.id[:12]}): the histories have parted",
                    line=number,
                    hint="import it into a new store",
                )
            known += 1
            continue
        fresh.append(Foreign(f"line {number}", event, header, operations))
    if fresh:
        try:
            store.graft(fresh)
        except CorruptStore as fault:
            raise ImportFailed(str(fault), line=batch[known][0], hint=fault.hint) from fault
    return len(fresh), known


def _checked_event(number: int, value: dict[str, Any]) -> tuple[Event, bytes, list[Operation]]:
    try:
        line = _EventLine.model_validate(value)
        header = encode(line.event)
        event = decode_event(header, f"line {number}")
        event.check_times()
        operations = store_values(parse_patch(line.patch, owned=True, limit=None))
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
        )
    if sha256(encode_body(operations)).hexdigest() != event.patch:
        raise ImportFailed(f"line {number}: the patch is not the one that v{event.seq} names", line=number)
    return event, header, operations


def _first_fault(fault: ValidationError) -> str:
    first = fault.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else str(first["msg"])
