"""Apply a JSON Patch (RFC 6902) to a copy of a document, or in place at the cost of the change.

Invariants:

1. A patch and a document never share a mutable value: values are copied into a document, unless the caller gives the
   operations away.
2. Every refusal is a `PatchError` with the operation's index and pointer.
3. A `Budget` bounds the cost of a patch; its length does not: a short patch can ask for gigabytes by copying its own
   copies, and for minutes by moving long arrays. Replaying accepted patches has higher limits
   (`kbstore.jsondoc.edits.Allowance`): a history never becomes unreadable, and a forged history never hangs.
"""

from collections.abc import Iterable, Mapping, Sequence

import orjson

from kbstore.errors import PatchError, PointerError
from kbstore.jsondoc.canonical import JSON, clone, decode, equal_by_value, fits_depth
from kbstore.jsondoc.edits import (
    MAX_COPIED_BYTES,
    PRINTING_WORK,
    Budget,
    add,
    brief,
    memory_of,
    remove,
    replace,
    resolve,
)
from kbstore.jsondoc.operation import Operation, parse_patch, patch_json
from kbstore.jsondoc.pointer import MAX_DEPTH, format_pointer, shorten

__all__ = [
    "MAX_COPIED_BYTES",
    "Budget",
    "Operation",
    "add",
    "apply_operations",
    "apply_patch",
    "check_move",
    "check_test",
    "located",
    "parse_patch",
    "patch_json",
    "remove",
    "replace",
    "resolve",
]


def apply_patch(
    document: JSON, patch: Iterable[Mapping[str, JSON]] | bytes | str | object, *, limit_bytes: int = MAX_COPIED_BYTES
) -> JSON:
    """Return the document with the patch applied, all or nothing; the arguments never change.

    The result shares nothing mutable with either argument. Cost: a copy of the document, two to three times
    ``orjson.loads``; `apply_operations` costs only the change.

    Args:
        document: Any JSON value.
        patch: As for `parse_patch`.
        limit_bytes: The most memory for all ``copy`` operations together, not counting the first.

    Raises:
        PatchError: The patch is malformed or does not apply.
        InvalidJSON: The document is not JSON.
    """
    operations = parse_patch(patch)
    return apply_operations(clone(document), operations, limit_bytes=limit_bytes)


def apply_operations(
    document: JSON,
    operations: Sequence[Operation],
    *,
    limit_bytes: int = MAX_COPIED_BYTES,
    consume: bool = False,
    budget: Budget | None = None,
) -> JSON:
    """Apply operations in place to a document that the caller owns.

    Cost: 0.5 to 1 us per operation, plus the cost of copying the value.

    Args:
        document: The document; it changes even if the patch fails half-way.
        operations: From `parse_patch`.
        limit_bytes: The most memory for all ``copy`` operations together, not counting the first.
        consume: True to give the operations' values away, for replaying a patch that was accepted before: values are
            then not copied, and the operations must not be used again.
        budget: The budget to spend, instead of a new budget with `limit_bytes`.

    Returns:
        The root; another object if an operation replaced the whole document.

    Raises:
        PatchError: An operation does not apply. The error has the operation's index and pointer.
    """
    budget = budget or Budget(limit_bytes)
    index = 0
    try:
        for index, (op, path, source, value) in enumerate(operations):  # noqa: B007 - read if an operation fails
            if op == "replace":
                document = replace(document, path, value if consume else _inserted(value, path))
            elif op == "add":
                document = add(document, path, value if consume else _inserted(value, path), budget)
            elif op == "remove":
                document = remove(document, path, budget)[0]
            elif op == "test":
                check_test(resolve(document, path), value)
            elif source is None:
                raise PatchError(f"{op} names no place to take from")
            elif op == "move":
                document = _move(document, source, path, budget)
            else:
                document = _copy(document, source, path, budget)
    except (PatchError, PointerError) as fault:
        raise located(fault, index, operations[index]) from fault
    return document


def located(fault: PatchError | PointerError, index: int, operation: Operation) -> PatchError:
    """Return the fault of an operation as an error of the patch, with the operation's index and pointer."""
    pointer = fault.pointer if fault.pointer is not None else operation.pointer
    return PatchError(
        f"operation {index} ({operation.op} {shorten(operation.pointer)!r}): {fault}",
        index=index,
        pointer=pointer,
        hint=fault.hint,
    )


def check_test(found: JSON, expected: JSON) -> None:
    """Raise `PatchError` if a ``test`` operation fails."""
    if not equal_by_value(found, expected):
        raise PatchError(f"the value there is {brief(found)}, not {brief(expected)}")


def check_move(source: tuple[str, ...], path: tuple[str, ...]) -> None:
    """Raise `PatchError` if a value would be moved into itself (RFC 6902 section 4.4)."""
    if len(source) < len(path) and path[: len(source)] == source:
        raise PatchError(f"{shorten(format_pointer(source))!r} cannot be moved into its own child")


def _inserted(value: JSON, path: tuple[str, ...]) -> JSON:
    """Return a copy of an operation's value for insertion at `path`; refuse too deep nesting."""
    kind = type(value)
    if kind is not dict and kind is not list:
        return value
    printed = orjson.dumps(value)
    _check_depth(value, printed, len(path))
    return decode(printed)


def _check_depth(value: JSON, printed: bytes, depth: int) -> None:
    # Few brackets prove that the value is shallow, without entering it.
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
        budget.copied(len(value))  # shared in memory, but not in the printed document
    return add(document, path, value, budget)
