"""Carry changes over to a newer state by merging values, if the positions alone do not allow it."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from kbstore.errors import Conflict, PointerError
from kbstore.history.event import store_values
from kbstore.jsondoc.canonical import MISSING
from kbstore.jsondoc.conflicts import conflict_at
from kbstore.jsondoc.hunks import Change, Difference
from kbstore.jsondoc.identity import Identities
from kbstore.jsondoc.make_patch import patch_of
from kbstore.jsondoc.merge import merge
from kbstore.jsondoc.patch import Budget, Operation, parse_patch
from kbstore.jsondoc.pointer import format_pointer, parse_pointer
from kbstore.jsondoc.value_changes import changes as changes_of
from kbstore.tree.diff import compare
from kbstore.tree.editor import Draft
from kbstore.tree.locate import Locator
from kbstore.tree.node import Ref
from kbstore.tree.reader import Source, find, materialise

READ = "read"
"""The kind of a conflict at a place that a change tests or copies and others modified."""


def operations_of(hunks: Sequence[Difference], identities: Identities) -> list[Operation]:
    """Return the patch for the given differences, values in stored form."""
    return store_values(parse_patch(patch_of(hunks, identities), owned=True, limit=None), trusted=True)


def rebased(
    changes: Sequence[Sequence[Operation]], base: Ref | None, head: Ref, source: Source, identities: Identities
) -> tuple[list[list[Operation]], list[Conflict]]:
    """Return the changes as patches of a newer state, and the conflicts.

    Args:
        changes: Patches, the first made for `base`, each other patch for the state after the previous patch.
        base: The state under the first change; None if there was no document.
        head: The newer state.
        source: Source of nodes.
        identities: Members that identify the elements of an array, by pointer; for other arrays, members are found.

    Raises:
        PatchError: A patch does not apply to the state before.
    """
    locator = Locator(source, identities)
    patches: list[list[Operation]] = []
    conflicts: dict[str, Conflict] = {}
    for operations in changes:
        draft = Draft(base, source, Budget())
        draft.apply(operations)
        wanted = draft.seal() if operations or base is None else base
        theirs = compare(base, head, source)
        if any(not operation.path and operation.op != "test" for operation in operations):
            found = [*_replaced(changes_of(theirs, identities), wanted, source, locator)]
            hunks: list[Difference] = []
        else:
            hunks, found = merge(compare(base, wanted, source), theirs, identities, partial(locator.sample, base))
            found += _reads(operations, base, wanted, head, source, locator)
        for conflict in found:
            conflicts.setdefault(conflict.pointer, conflict)
        patches.append(operations_of(hunks, identities))
        draft = Draft(head, source)
        draft.apply(patches[-1])
        base, head = wanted, draft.seal()
    return patches, sorted(conflicts.values(), key=lambda conflict: conflict.pointer)


def _replaced(theirs: Sequence[Change], wanted: Ref, source: Source, locator: Locator) -> Iterator[Conflict]:
    """Yield the conflicts of a change that replaces the whole document, and so concerns every place there."""
    for change in theirs:
        place, _ = _place(locator, wanted, parse_pointer(change.address), parse_pointer(change.pointer))
        ours = _value_at(wanted, place, source)
        yield conflict_at(change.address, change.old, ours, change.new)


def _reads(
    operations: Sequence[Operation], base: Ref | None, wanted: Ref, head: Ref, source: Source, locator: Locator
) -> Iterator[Conflict]:
    """Yield the places that a change tests, copies, or sets to the present value, if others changed the place.

    The places are named by identity in the state at the time of the operation, since earlier insertions of the change
    may have moved elements.
    """
    draft = Draft(base, source)
    for operation in operations:
        path = _read_by(operation, draft)
        state = draft.seal() if path is not None and base is not None else None
        draft.apply([operation])
        if path is None or state is None:
            continue
        address = locator.address(state, path)
        roots = (base, wanted, head)
        places = [_place(locator, root, address, path) for root in roots]
        values = [_value_at(root, place, source) for root, (place, _) in zip(roots, places, strict=True)]
        known = places[0][1] and places[2][1]
        if not known or locator.stored(base, address) != locator.stored(head, address):
            yield Conflict(format_pointer(address), READ, *values)


def _place(
    locator: Locator, root: Ref | None, address: tuple[str, ...], path: tuple[str, ...]
) -> tuple[tuple[str, ...] | None, bool]:
    """Return the place of an address in a state, and whether the place is certain.

    An id may be there twice if a change added the id again; then the place is `path`, by index.
    """
    try:
        return locator.resolve(root, address), True
    except PointerError:
        return path, False


def _read_by(operation: Operation, draft: Draft) -> tuple[str, ...] | None:
    """Return the place read by an operation; a place replaced by the present value counts as read."""
    if operation.op == "test":
        return operation.path
    if operation.op == "copy":
        return operation.source
    return operation.path if operation.op == "replace" and draft.holds(operation.path, operation.value) else None


def _value_at(root: Ref | None, path: tuple[str, ...] | None, source: Source) -> Any:
    value = None if root is None or path is None else find(root, path, source)
    return MISSING if value is None else materialise(value, source)
