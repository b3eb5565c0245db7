"""Operations of a JSON Patch (RFC 6902): read and checked once, when a patch comes in, and written as plain JSON.

Every refusal is a `PatchError` with the operation's index and, if the operation has a pointer, the pointer. Values are
copied when a patch is read: changing an object later does not change the patch.
"""

import contextlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple, NoReturn

import msgspec

from kbstore.errors import InvalidJSON, PatchError, PointerError
from kbstore.jsondoc.canonical import JSON, MISSING, clone, loads
from kbstore.jsondoc.edits import MAX_OPERATIONS, MAX_TOKENS
from kbstore.jsondoc.pointer import format_pointer, parse_pointer, shorten

_LEAST_BYTES = len('{"op":"move","path":""},')
_OPS = frozenset({"add", "remove", "replace", "move", "copy", "test"})
_LIKE_THIS = 'an operation looks like {"op": "replace", "path": "/a", "value": 1}; a document is committed, not applied'


class Operation(NamedTuple):
    """An operation of a patch, with pointers split into tokens.

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


def parse_patch(
    patch: Iterable[Mapping[str, JSON]] | bytes | bytearray | str | object,
    *,
    owned: bool = False,
    limit: int | None = MAX_OPERATIONS,
) -> list[Operation]:
    """Check a patch and split the pointers. Members unknown to RFC 6902 are ignored, as the RFC asks.

    Args:
        patch: A list of operations, its JSON text, or a ``jsonpatch.JsonPatch``.
        owned: True to use the values without a check or a copy: valid JSON without another owner, such as a body read
            back from the log, or values that the caller checks and copies at once. Otherwise the result shares nothing
            mutable with `patch`.
        limit: The most operations to accept; None for a patch that was accepted before.

    Raises:
        PatchError: The input is not a JSON Patch.
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
        # Count the operations before reading them: a million take half a gigabyte as Python values.
        with contextlib.suppress(msgspec.DecodeError, RecursionError, UnicodeError):
            if len(msgspec.json.decode(text, type=list[msgspec.Raw])) > limit:
                raise _too_many(limit)
    try:
        value = loads(text)
    except InvalidJSON as fault:
        first = parse_pointer(fault.pointer)[:1] if fault.pointer else ()
        index = int(first[0]) if first and first[0].isdecimal() else None
        raise PatchError(f"the patch cannot be read: {fault}", index=index, hint=fault.hint) from fault
    if type(value) is not list:
        raise PatchError("the patch is not an array of operations", hint="put [ before it and ] behind it")
    return value


def _read_operation(index: int, item: object, owned: bool) -> Operation:
    if type(item) is not dict:
        if not isinstance(item, Mapping):
            what = f"operation {index} is of type {type(item).__name__}, not an object"
            raise PatchError(what, index=index, hint=_LIKE_THIS)
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
        raise bad_pointer(index, op, fault) from fault
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
            raise bad_value(index, op, text, fault) from fault
    return Operation(op, path, None, value)


def bad_pointer(index: int, op: str, fault: PointerError) -> PatchError:
    """Return the error for an operation with an invalid pointer."""
    return PatchError(f"operation {index} ({op}): {fault}", index=index, pointer=fault.pointer, hint=fault.hint)


def bad_value(index: int, op: str, pointer: str, fault: InvalidJSON) -> PatchError:
    """Return the error for an operation with a value that is not JSON."""
    return PatchError(
        f"operation {index} ({op} {shorten(pointer)!r}): in its value, {fault}",
        index=index,
        pointer=pointer,
        hint=fault.hint,
    )


def _refuse_op(index: int, item: Mapping[str, JSON]) -> NoReturn:
    pointer = item.get("path") if isinstance(item.get("path"), str) else None
    if "op" not in item:
        raise PatchError(f"operation {index} has no member 'op'", index=index, pointer=pointer, hint=_LIKE_THIS)
    raise PatchError(
        f"operation {index}: {shorten(repr(item['op']))} is not an operation",
        index=index,
        pointer=pointer,
        hint="use one of RFC 6902: add, remove, replace, move, copy, test",
    )


def _text_of(index: int, item: Mapping[str, JSON], member: str) -> str:
    """Return the pointer in a member that is not a plain str: accept the types of jsonpatch, else raise."""
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
    """Return the patch as plain RFC 6902 objects. Values are shared with the operations, not copied."""
    return [_operation_json(operation) for operation in operations]


def _operation_json(operation: Operation) -> dict[str, JSON]:
    plain: dict[str, JSON] = {"op": operation.op, "path": format_pointer(operation.path)}
    if operation.source is not None:
        plain["from"] = format_pointer(operation.source)
    elif operation.value is not MISSING:
        plain["value"] = operation.value
    return plain
