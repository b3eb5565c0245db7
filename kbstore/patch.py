"""JSON Patch (RFC 6902): read and check a patch, apply it in place or purely, and the four edits it is made of.

Invariants:

1. No mutable value is shared between a patch and a document, nor with the caller's objects: values are copied when a
   patch is read, and again when they are put into a document (unless the caller gives the operations away).
2. Every refusal is a `PatchError` with the operation's index and pointer.
3. What a patch may cost is bounded by a `Budget`, not by the patch's own length: a short patch can ask for gigabytes by
   copying what it copied before, and for minutes by moving long arrays. Replaying what was once accepted
   (``consume=True``) is not bounded again, so no history can become unreadable.
"""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, NoReturn

import msgspec
import orjson

from kbstore.canonical import JSON, MISSING, clone, decode, equal_by_value, fits_depth, loads
from kbstore.edits import (
    MAX_COPIED_BYTES,
    MAX_OPERATIONS,
    MAX_TOKENS,
    PRINTING_WORK,
    Budget,
    add,
    brief,
    memory_of,
    remove,
    replace,
    resolve,
)
from kbstore.errors import InvalidJSON, PatchError, PointerError
from kbstore.pointer import MAX_DEPTH, format_pointer, parse_pointer, shorten

__all__ = [
    "MAX_COPIED_BYTES",
    "MAX_OPERATIONS",
    "Budget",
    "Operation",
    "add",
    "apply_operations",
    "apply_patch",
    "check_move",
    "check_test",
    "located",
    "memory_of",
    "parse_patch",
    "patch_json",
    "remove",
    "replace",
    "resolve",
]

_LEAST_BYTES = len('{"op":"move","path":""},')
_OPS = frozenset({"add", "remove", "replace", "move", "copy", "test"})


class Operation(NamedTuple):
    """One operation of a patch, its pointers split into tokens.

    Attributes:
        op: add, remove, replace, move, copy or test.
        path: Tokens of the target.
        source: Tokens of ``from`` for move and copy, else None.
        value: The value of add, replace and test, owned by the operation; else `MISSING`.
    """

    op: str
    path: tuple[str, ...]
    source: tuple[str, ...] | None = None
    value: JSON = MISSING

    @property
    def pointer(self) -> str:
        """The target as text."""
        return format_pointer(self.path)

    @property
    def source_pointer(self) -> str | None:
        """``from`` as text, or None."""
        return None if self.source is None else format_pointer(self.source)


# --- Reading a patch -----------------------------------------------------------------------------------------------


def parse_patch(
    patch: Iterable[Mapping[str, JSON]] | bytes | bytearray | str | object,
    *,
    owned: bool = False,
    limit: int | None = MAX_OPERATIONS,
) -> list[Operation]:
    """Check a patch and split its pointers. Members that RFC 6902 does not know are ignored, as it asks.

    Args:
        patch: A list of operations, its JSON text, or a ``jsonpatch.JsonPatch``.
        owned: True where the values are good JSON that nobody else holds, such as a body read back from the log: they
            are then neither checked nor copied.
        limit: Most operations that are accepted; None for a patch that was accepted before.

    Raises:
        PatchError: It is not a JSON Patch. Nothing of the caller's is kept either way.
    """
    if isinstance(patch, (bytes, bytearray, memoryview, str)):
        patch, owned = _read_text(patch, limit), True
    elif not isinstance(patch, (list, tuple)):
        inner = getattr(patch, "patch", None)  # jsonpatch.JsonPatch, known by its shape, so that it is not imported
        if isinstance(inner, list):
            patch = inner
        elif isinstance(patch, Mapping) or not isinstance(patch, Iterable):
            raise PatchError(
                f"a JSON Patch is a list of operations, not a {type(patch).__name__}",
                hint='it looks like [{"op": "replace", "path": "/a", "value": 1}]',
            )
    operations: list[Operation] = []
    tokens = 0
    for index, item in enumerate(patch):
        if index == limit:
            raise _too_many(index)
        operation = _read_operation(index, item, owned)
        operations.append(operation)
        tokens += len(operation.path)
        if tokens > MAX_TOKENS and limit is not None:
            raise PatchError(
                f"the pointers of this patch have more than {MAX_TOKENS:,} tokens",
                index=index,
                hint="split it, or commit the changed document instead",
            )
    return operations


def _too_many(limit: int) -> PatchError:
    return PatchError(
        f"the patch has more than {limit:,} operations",
        index=limit,
        hint="split it, or commit the changed document instead",
    )


def _read_text(text: bytes | bytearray | memoryview | str, limit: int | None) -> list[JSON]:
    if limit is not None and len(text) > limit * _LEAST_BYTES:
        # Counted before they are read, since a million operations take half a gigabyte as Python values.
        with contextlib.suppress(msgspec.DecodeError, RecursionError, UnicodeError):
            if len(msgspec.json.decode(text, type=list[msgspec.Raw])) > limit:
                raise _too_many(limit)
    try:
        value = loads(text)
    except InvalidJSON as fault:
        first = parse_pointer(fault.pointer)[:1] if fault.pointer else ()
        index = int(first[0]) if first and first[0].isdecimal() else None
        raise PatchError(f"the patch is not JSON: {fault}", index=index, hint=fault.hint) from fault
    if type(value) is not list:
        raise PatchError("a JSON Patch is an array of operations", hint='start it with "[", also for one operation')
    return value


def _read_operation(index: int, item: object, owned: bool) -> Operation:
    if type(item) is not dict:
        if not isinstance(item, Mapping):
            raise PatchError(f"operation {index} is no object but a {type(item).__name__}", index=index)
        item = dict(item)
    op = item.get("op")
    if type(op) is not str or op not in _OPS:
        _refuse_op(index, item)
    text = item.get("path")
    if type(text) is not str:
        text = _text_of(index, item, "path")
    try:
        path = parse_pointer(text)
        if op == "remove":
            return Operation(op, path)
        if op == "move" or op == "copy":
            origin = item.get("from")
            if type(origin) is not str:
                origin = _text_of(index, item, "from")
            return Operation(op, path, parse_pointer(origin))
    except PointerError as fault:
        raise PatchError(
            f"operation {index} ({op}): {fault}", index=index, pointer=fault.pointer, hint=fault.hint
        ) from fault
    value = item.get("value", MISSING)
    if value is MISSING:
        raise PatchError(
            f"operation {index} ({op} {shorten(text)!r}) has no member 'value'",
            index=index,
            pointer=text,
            hint='null is a value: "value": null',
        )
    if not owned:
        try:
            value = clone(value)
        except InvalidJSON as fault:
            raise PatchError(
                f"operation {index} ({op} {shorten(text)!r}): in its value, {fault}",
                index=index,
                pointer=text,
                hint=fault.hint,
            ) from fault
    return Operation(op, path, None, value)


def _refuse_op(index: int, item: Mapping[str, JSON]) -> NoReturn:
    pointer = item.get("path") if isinstance(item.get("path"), str) else None
    if "op" not in item:
        raise PatchError(f"operation {index} has no member 'op'", index=index, pointer=pointer)
    raise PatchError(
        f"operation {index}: {shorten(repr(item['op']))} is no operation",
        index=index,
        pointer=pointer,
        hint="the six of RFC 6902 are add, remove, replace, move, copy and test",
    )


def _text_of(index: int, item: Mapping[str, JSON], member: str) -> str:
    """The pointer in a member that is no plain str: what jsonpatch takes as a pointer too, else a refusal."""
    found = item.get(member, MISSING)
    inner = getattr(found, "path", None)
    if type(inner) is str:  # jsonpointer.JsonPointer, known by its shape
        return inner
    if found is MISSING:
        raise PatchError(
            f"operation {index} ({item['op']}) has no member {member!r}",
            index=index,
            pointer=item.get("path") if member == "from" else None,
        )
    raise PatchError(
        f"operation {index} ({item['op']}): {member!r} is a {type(found).__name__}, not a string", index=index
    )


def patch_json(operations: Iterable[Operation]) -> list[dict[str, JSON]]:
    """The patch as plain RFC 6902 objects. Values are shared with the operations, not copied."""
    return [_operation_json(operation) for operation in operations]


def _operation_json(operation: Operation) -> dict[str, JSON]:
    plain: dict[str, JSON] = {"op": operation.op, "path": format_pointer(operation.path)}
    if operation.source is not None:
        plain["from"] = format_pointer(operation.source)
    elif operation.value is not MISSING:
        plain["value"] = operation.value
    return plain


# --- Applying ------------------------------------------------------------------------------------------------------


def apply_patch(
    document: JSON, patch: Iterable[Mapping[str, JSON]] | bytes | str | object, *, limit_bytes: int = MAX_COPIED_BYTES
) -> JSON:
    """The document with the patch applied, all or nothing; the arguments never change.

    The result shares nothing mutable with either argument. Cost: a copy of the document, two to three times
    ``orjson.loads`` of it; `apply_operations` costs what changes.

    Args:
        document: Any JSON value.
        patch: As for `parse_patch`.
        limit_bytes: Memory that its ``copy`` operations may take together, the first one apart.

    Raises:
        PatchError: The patch is malformed or does not apply.
        InvalidJSON: The document is not JSON.
    """
    operations = parse_patch(patch)
    return apply_operations(clone(document), operations, limit_bytes=limit_bytes)


def apply_operations(
    document: JSON, operations: Sequence[Operation], *, limit_bytes: int = MAX_COPIED_BYTES, consume: bool = False
) -> JSON:
    """Apply operations in place to a document that the caller owns.

    Cost: 0.5 to 1 us an operation, and what its value takes.

    Args:
        document: The document; it changes, also where the patch fails half-way.
        operations: From `parse_patch`.
        limit_bytes: Memory that ``copy`` operations may take together, the first one apart.
        consume: True to give the operations' values away, and to leave out the limits, for replaying a patch that was
            accepted before: values are then not copied, and the operations must not be used again.

    Returns:
        The root, another object where an operation replaced the whole document.

    Raises:
        PatchError: An operation does not apply. It has the operation's index and pointer.
    """
    budget = None if consume else Budget(limit_bytes)
    index = 0
    try:
        for index, (op, path, source, value) in enumerate(operations):  # noqa: B007 - read where it fails
            if op == "replace":
                document = replace(document, path, value if consume else _inserted(value, path))
            elif op == "add":
                document = add(document, path, value if consume else _inserted(value, path), budget)
            elif op == "remove":
                document = remove(document, path, budget)[0]
            elif op == "test":
                check_test(resolve(document, path), value)
            elif op == "move":
                assert source is not None
                document = _move(document, source, path, budget)
            else:
                assert source is not None
                document = _copy(document, source, path, budget)
    except (PatchError, PointerError) as fault:
        raise located(fault, index, operations[index]) from fault
    return document


def located(fault: PatchError | PointerError, index: int, operation: Operation) -> PatchError:
    """The fault of one operation as the patch's: with the operation's index and pointer."""
    pointer = fault.pointer if fault.pointer is not None else operation.pointer
    return PatchError(
        f"operation {index} ({operation.op} {shorten(operation.pointer)!r}): {fault}",
        index=index,
        pointer=pointer,
        hint=fault.hint,
    )


def check_test(found: JSON, expected: JSON) -> None:
    """Raise `PatchError` where a ``test`` operation fails."""
    if not equal_by_value(found, expected):
        raise PatchError(f"the value there is {brief(found)}, not {brief(expected)}")


def check_move(source: tuple[str, ...], path: tuple[str, ...]) -> None:
    """Raise `PatchError` where a value would be moved into itself (RFC 6902 section 4.4)."""
    if len(source) < len(path) and path[: len(source)] == source:
        raise PatchError(f"{shorten(format_pointer(source))!r} cannot be moved into its own child")


def _inserted(value: JSON, path: tuple[str, ...]) -> JSON:
    """A copy of an operation's value, to be put in at `path`; refuses what would nest too deep."""
    kind = type(value)
    if kind is not dict and kind is not list:
        return value
    printed = orjson.dumps(value)
    _check_depth(value, printed, len(path))
    return decode(printed)


def _check_depth(value: JSON, printed: bytes, depth: int) -> None:
    # Few brackets prove that the value is shallow, without looking at it.
    if printed.count(b"[") + printed.count(b"{") + depth > MAX_DEPTH and not fits_depth(value, depth):
        raise PatchError(f"the document would be nested deeper than {MAX_DEPTH} containers")


def _move(document: JSON, source: tuple[str, ...], path: tuple[str, ...], budget: Budget | None) -> JSON:
    check_move(source, path)
    if source == path:
        resolve(document, source)
        return document
    if budget is not None and len(path) > len(source):
        moved = resolve(document, source)
        if type(moved) is dict or type(moved) is list:
            printed = orjson.dumps(moved)
            budget.worked(PRINTING_WORK * len(printed))
            _check_depth(moved, printed, len(path))
    document, moved = remove(document, source, budget)
    return add(document, path, moved, budget)


def _copy(document: JSON, source: tuple[str, ...], path: tuple[str, ...], budget: Budget | None) -> JSON:
    value = resolve(document, source)
    if type(value) is dict or type(value) is list:
        printed = orjson.dumps(value)
        if budget is not None:
            budget.copied(memory_of(printed))
            _check_depth(value, printed, len(path))
        value = decode(printed)
    elif type(value) is str and budget is not None:
        budget.copied(len(value))  # shared in memory, but not where the document is printed
    return add(document, path, value, budget)
