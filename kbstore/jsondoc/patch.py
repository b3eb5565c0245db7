"""JSON Patch (RFC 6902) applied to a document: purely, or in place and at the cost of what changes.

Invariants:

1. No mutable value is shared between a patch and a document: values are copied when they are put into a document,
   unless the caller gives the operations away.
2. Every refusal is a `PatchError` with the operation's index and pointer.
3. What a patch may cost is bounded by a `Budget`, not by the patch's own length: a short patch can ask for gigabytes by
   copying what it copied before, and for minutes by moving long arrays. Replaying what was once accepted
   is bounded more amply (`kbstore.jsondoc.edits.Allowance`): no history can become unreadable, and no forged one hangs.
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
    document: JSON,
    operations: Sequence[Operation],
    *,
    limit_bytes: int = MAX_COPIED_BYTES,
    consume: bool = False,
    budget: Budget | None = None,
) -> JSON:
    """Apply operations in place to a document that the caller owns.

    Cost: 0.5 to 1 us an operation, and what its value takes.

    Args:
        document: The document; it changes, also where the patch fails half-way.
        operations: From `parse_patch`.
        limit_bytes: Memory that ``copy`` operations may take together, the first one apart.
        consume: True to give the operations' values away, for replaying a patch that was accepted before: values are
            then not copied, and the operations must not be used again.
        budget: What is left to spend, instead of one of its own with `limit_bytes`.

    Returns:
        The root, another object where an operation replaced the whole document.

    Raises:
        PatchError: An operation does not apply. It has the operation's index and pointer.
    """
    budget = budget or Budget(limit_bytes)
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
