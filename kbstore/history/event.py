"""An event: the header of one version, and the stored form of its patch.

The header is canonical JSON, and its SHA-256 is the id of the event. The header names its parents by id, so the log is
a hash chain. The body is the patch in stored form: RFC 6902, except for values longer than `INLINE_BYTES`. Their
operations carry ``value_node``, the address of a state node, instead of ``value``.
"""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from hashlib import sha256
from itertools import chain
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from kbstore.errors import CorruptStore, DamagedVersion, InvalidJSON, PatchError, PointerError, UnsupportedFormat
from kbstore.jsondoc.canonical import MISSING, decode_large, dumps, encode, fits_depth
from kbstore.jsondoc.edits import MAX_OPERATIONS, MAX_TOKENS
from kbstore.jsondoc.operation import bad_pointer, bad_value, parse_patch
from kbstore.jsondoc.patch import Operation, located
from kbstore.jsondoc.pointer import MAX_DEPTH, format_pointer, parse_pointer, shorten
from kbstore.kit.clock import format_time, parse_time
from kbstore.tree.builder import build_value
from kbstore.tree.node import INLINE_BYTES, VALUE, Ref
from kbstore.tree.node_store import Nodes
from kbstore.tree.reader import materialise

if TYPE_CHECKING:
    from kbstore.history.change import PatchLike

EVENT_FORMAT = 1

_HASH = re.compile(r"[0-9a-f]{64}")
_MOST_PARENTS = 2
UNREADABLE = (msgspec.DecodeError, ValueError, RecursionError)
"""Errors from reading damaged JSON: ValueError if a text is not UTF-8 or has wrong digits."""


class Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The header of one version.

    Attributes:
        seq: 1, 2, ... along the branch.
        parents: Ids of the events before this event; empty for the first, two for a merge.
        time: Time of the commit: RFC 3339, UTC, microseconds. It is never before the parent's time: a commit with an
            earlier clock takes the parent's time.
        author: Name of the author.
        message: Why the change was made.
        patch: SHA-256 (hex) of the body.
        state: Root hash (hex) of the resulting state.
        authored: When the change was written, by the author's clock, if different from `time`.
        tags: Labels, for filtering.
        meta: Free, for integrations.
        order: Root (hex) of the rules of members' order after the event, if the event changes the rules.
        format: Version of this layout.
    """

    seq: int
    parents: tuple[str, ...]
    time: str
    author: str
    message: str
    patch: str
    state: str
    authored: str | None = None
    tags: tuple[str, ...] = ()
    meta: dict[str, Any] | None = None
    order: str | None = None
    format: int = 0

    def encode(self) -> bytes:
        """Return the canonical bytes of the header."""
        fields: dict[str, Any] = {
            "author": self.author,
            "format": self.format,
            "message": self.message,
            "parents": list(self.parents),
            "patch": self.patch,
            "seq": self.seq,
            "state": self.state,
            "time": self.time,
        }
        if self.authored is not None:
            fields["authored"] = self.authored
        if self.tags:
            fields["tags"] = list(self.tags)
        if self.meta:
            fields["meta"] = self.meta
        if self.order is not None:
            fields["order"] = self.order
        return encode(fields)

    @property
    def moment(self) -> datetime:
        """`time` as a datetime in UTC.

        Raises:
            DamagedVersion: `time` is not a time.
        """
        return self._moment(self.time)

    @property
    def written(self) -> datetime:
        """`authored` as a datetime in UTC, else `moment`."""
        return self._moment(self.authored or self.time)

    def check_times(self) -> None:
        """Refuse an event if its times are not written as `Event.encode` writes times.

        Raises:
            DamagedVersion: A time is written otherwise, or is not a time.
        """
        for text in (self.time, self.authored or self.time):
            if format_time(self._moment(text)) != text:
                raise DamagedVersion(self.seq, f"its time {text!r} is not in the form of kbstore")

    def _moment(self, text: str) -> datetime:
        try:
            return parse_time(text)
        except ValueError:
            raise DamagedVersion(self.seq, f"its time is {text!r}") from None


_decode_header = msgspec.json.Decoder(Event).decode


def event_id(header: bytes) -> str:
    """Return the id of the event with this header: 64 hexadecimal digits."""
    return sha256(header).hexdigest()


def decode_event(header: bytes, where: str) -> Event:
    """Return the event with this header.

    Args:
        header: Bytes from `Event.encode`.
        where: Names the record, for errors.

    Raises:
        CorruptStore: The header is not an event.
        UnsupportedFormat: The event was written by a newer version.
    """
    try:
        event = _decode_header(header)
    except UNREADABLE as fault:
        found = _format_of(header)
        if found is not None and found > EVENT_FORMAT:
            raise UnsupportedFormat(
                f"{where} has event format {found}; this kbstore reads up to {EVENT_FORMAT}",
                hint="install a newer kbstore",
            ) from None
        raise CorruptStore(f"{where} is not an event: {fault}", hint="run: kbstore verify") from None
    if event.format != EVENT_FORMAT:
        raise UnsupportedFormat(
            f"{where} has event format {event.format}; this kbstore reads {EVENT_FORMAT}",
            hint="install a newer kbstore",
        )
    return event


def header_faults(header: bytes, event: Event) -> list[str]:
    """Return the faults in the form of a header, as clauses. A header has a single form, so an event has a single id.

    Args:
        header: The bytes.
        event: Result of `decode_event` for these bytes.
    """
    faults = []
    try:
        again = event.encode()
    except (TypeError, ValueError):  # something in `meta` that JSON does not have
        again = b""
    hashes = (*event.parents, event.patch, event.state, *([event.order] if event.order is not None else ()))
    if again != header or not all(map(_HASH.fullmatch, hashes)) or event.seq < 1 or len(event.parents) > _MOST_PARENTS:
        faults.append("its header is not in canonical form")
    try:
        event.check_times()
    except DamagedVersion as fault:
        faults.append(fault.what)
    return faults


def body_fault(body: bytes, operations: Sequence[Operation]) -> str:
    """Return the fault in the form of a stored patch, or an empty text. A stored patch has a single form, too.

    Args:
        body: The bytes.
        operations: Result of `decode_body` for these bytes.
    """
    for op, _, source, value in operations:
        if (source is not None, value is not MISSING) != _MEMBERS.get(op):
            return f"an operation of its patch is not {shorten(op)!r} as RFC 6902 has it"
        if len(value) > INLINE_BYTES if isinstance(value, bytes) else isinstance(value, Ref) and value.kind == VALUE:
            return "a value in its patch stands where it should not"
    if encode_body(operations) != body or orjson.dumps(orjson.loads(body), option=orjson.OPT_SORT_KEYS) != body:
        return "its patch is not in canonical form"
    return ""


def _format_of(header: bytes) -> int | None:
    try:
        found = orjson.loads(header).get("format")
    except (ValueError, AttributeError):
        return None
    return found if isinstance(found, int) else None


_NO_PATCH = (*UNREADABLE, TypeError, LookupError, AttributeError)
"""Errors from reading other JSON as a patch."""


class _StoredOperation(msgspec.Struct, forbid_unknown_fields=True):
    op: str
    path: str
    # Unset, not null: an absent member and a null member are written in different ways.
    from_: str | msgspec.UnsetType = msgspec.field(name="from", default=msgspec.UNSET)
    value: msgspec.Raw = msgspec.Raw(b"")
    value_node: str | msgspec.UnsetType = msgspec.UNSET


_decode_body = msgspec.json.Decoder(list[_StoredOperation]).decode


def store_values(operations: Iterable[Operation], *, trusted: bool = False) -> list[Operation]:
    """Return the operations with each value in the form of a state (canonical bytes, or a `Ref`).

    Args:
        operations: The result shares nothing with these operations.
        trusted: The values are known to be good JSON.

    Raises:
        PatchError: A value is not JSON, or a long value nests too deep for its place. (Short values are checked when
            the patch is applied.)
    """
    stored = []
    for at, op in enumerate(operations):
        if op.value is MISSING:
            stored.append(op)
            continue
        try:
            value = build_value(encode(op.value) if trusted else dumps(op.value))
        except InvalidJSON as fault:
            raise bad_value(at, op.op, op.pointer, fault) from fault
        if isinstance(value, Ref) and op.path and not fits_depth(op.value, len(op.path)):
            raise located(PatchError(f"the document would be nested deeper than {MAX_DEPTH} containers"), at, op)
        stored.append(Operation(op.op, op.path, op.source, value))
    return stored


def stored_patch(patch: "PatchLike | object") -> tuple[list[Operation], bytes, dict[int, Any]]:
    """Return the operations of a patch from outside, values in stored form, with their body and their containers.

    The containers are the values with containers in them, by the index of their operation, members in the order of the
    patch.

    A list of plain dicts without superfluous members, as nearly all patches are, is printed once as a whole. The text
    is already the body, and the operations are views of the text.

    Raises:
        PatchError: The patch is not a JSON Patch, or a value is not JSON.
    """
    operations: list[Operation] | None
    if type(patch) is list and len(patch) <= MAX_OPERATIONS:
        with suppress(InvalidJSON, msgspec.DecodeError):
            body = dumps(patch)
            operations = _plain_operations(body)
            if operations is not None:
                return operations, body, _containers([op.get("value") for op in patch])
    read = parse_patch(patch, owned=True)
    operations = store_values(read)
    return operations, encode_body(operations), _containers([op.value for op in read])


def _containers(values: Sequence[Any]) -> dict[int, Any]:
    return {at: value for at, value in enumerate(values) if isinstance(value, dict | list)}


_MEMBERS = {
    "add": (False, True), "replace": (False, True), "test": (False, True), "remove": (False, False),
    "move": (True, False), "copy": (True, False),
}  # fmt: skip
"""Whether each operation has ``from`` and ``value``."""


def _plain_operations(body: bytes) -> list[Operation] | None:
    """Return the operations of a canonical patch; None if a part needs a closer look or another form."""
    if body.count(b"/") > MAX_TOKENS:
        return None
    operations = []
    for stored in _decode_body(body):
        op, text, source, value = stored.op, stored.path, stored.from_, bytes(stored.value)
        if (source is not msgspec.UNSET, value != b"") != _MEMBERS.get(op):
            return None
        if len(value) > INLINE_BYTES or stored.value_node is not msgspec.UNSET:
            return None
        try:
            origin = None if source is msgspec.UNSET else parse_pointer(source)
            operations.append(Operation(op, parse_pointer(text), origin, value or MISSING))
        except PointerError as fault:
            raise bad_pointer(len(operations), op, fault) from fault
    return operations


def encode_body(operations: Sequence[Operation]) -> bytes:
    """Return the stored form of a patch; its values are in stored form already."""
    parts = []
    for op, path, source, value in operations:
        head = b'"op":"%s","path":%s' % (op.encode(), orjson.dumps(format_pointer(path)))
        if isinstance(value, bytes):
            parts.append(b'{%s,"value":%s}' % (head, value))
        elif isinstance(value, Ref):
            parts.append(b'{%s,"value_node":"%s"}' % (head, value.address.hex().encode()))
        elif source is not None:
            parts.append(b'{"from":%s,%s}' % (orjson.dumps(format_pointer(source)), head))
        else:
            parts.append(b"{%s}" % head)
    return b"[" + b",".join(parts) + b"]"


def decode_body(body: bytes, nodes: Nodes, *, instead: bytes | None = None) -> list[Operation]:
    """Return the operations of a stored patch, values in stored form.

    Args:
        body: The stored form.
        nodes: Source of long values.
        instead: Replaces long values that cannot be read; without `instead` such a value is an error.

    Raises:
        CorruptStore: The body is not a stored patch.
    """
    long = _LongValues(nodes, instead)
    try:
        stored = _decode_body(body)
        operations = [
            Operation(
                s.op,
                parse_pointer(s.path),
                None if s.from_ is msgspec.UNSET else parse_pointer(s.from_),
                long.read(s.value_node) if s.value_node else bytes(s.value) or MISSING,
            )
            for s in stored
        ]
    except UNREADABLE as fault:
        raise CorruptStore(f"the body is not a stored patch: {fault}", hint="run: kbstore verify") from None
    for op, _, source, value in operations:
        with_source, with_value = _MEMBERS.get(op, (True, True))
        if (with_source and source is None) or (with_value and value is MISSING):
            what = f"{shorten(op)!r} is unknown, or does not say all that it needs"
            raise CorruptStore(f"the body is not a stored patch: {what}", hint="run: kbstore verify")
    return operations


class _LongValues:
    """The long values of one patch. The total size has the limit of a read from the store.

    Args:
        nodes: Source of the values.
        instead: Replaces unreadable values; without `instead`, `read` raises.
    """

    def __init__(self, nodes: Nodes, instead: bytes | None = None) -> None:
        self._nodes = nodes
        self._instead = instead
        self._sizes = [0, 0]
        self._seen: set[str] = set()

    def read(self, address: str) -> bytes | Ref:
        """Return the value with this address."""
        try:
            root = self._nodes.root(bytes.fromhex(address))
        except CorruptStore:
            if self._instead is None:
                raise
            return self._instead
        again = address in self._seen
        self._seen.add(address)
        self._sizes[again] += root.size
        self._nodes.limit.admit(self._sizes[again], again=again)
        return root


def plain_body(body: bytes, nodes: Nodes) -> list[dict[str, Any]]:
    """Return the patch as plain RFC 6902."""
    return plain_bodies([body], nodes)[0]


def plain_bodies(bodies: Sequence[bytes], nodes: Nodes) -> list[list[dict[str, Any]]]:
    """Return the patch of each body as `plain_body` does; decoding all together takes less time.

    Raises:
        CorruptStore: A body is not a stored patch.
    """
    try:
        return _plain_bodies(bodies, nodes)
    except _NO_PATCH as fault:
        raise CorruptStore(f"a body is not a stored patch: {fault!r}", hint="run: kbstore verify") from None


def _plain_bodies(bodies: Sequence[bytes], nodes: Nodes) -> list[list[dict[str, Any]]]:
    data = b"[%b]" % b",".join(bodies)
    patches: list[list[dict[str, Any]]] = decode_large(data)
    if b'"value_node":' in data:  # or a text that looks like it
        long = _LongValues(nodes)
        for operation in chain.from_iterable(patches):
            address = operation.pop("value_node", None)
            if address is not None:
                operation["value"] = materialise(long.read(address), nodes)
    return patches
