"""A patch that fails on another version: a `test` of the old value comes before each removal or replacement.

A pointer into an array is a position, and another version may have another element there, even with an equal value at
the place. So the patch tests the element too: the identifying members, or the whole element without a key.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

from kbstore.jsondoc.canonical import JSON, MISSING
from kbstore.jsondoc.hunks import Difference, Hunk, Splice, grouped
from kbstore.jsondoc.identity import Identities, find_names, keys_of
from kbstore.jsondoc.make_patch import patch_of
from kbstore.jsondoc.pointer import escape_token, format_pointer, parse_pointer

Tokens = tuple[str, ...]
ReadElement = Callable[[Tokens], Any]
"""Returns the old array element at a place; `MISSING` if the place is not in an array."""
ReadElements = Callable[[Tokens], Sequence[JSON]]
"""Returns the first elements of an old array, by place: a member may identify the elements of a region but not all
elements of the array."""


def guarded_patch(
    hunks: Sequence[Difference],
    identities: Identities,
    read_element: ReadElement | None = None,
    read_elements: ReadElements | None = None,
) -> list[dict[str, JSON]]:
    """Return the JSON Patch for these differences, with tests.

    Args:
        hunks: As for `patch_of`.
        identities: As for `patch_of`.
        read_element: Returns the elements on the paths of the hunks; None if the paths lead through objects only.
        read_elements: Returns the first elements of an array; None if the hunks have whole arrays.
    """
    sample: ReadElements = cache(read_elements) if read_elements is not None else lambda _: ()
    operations: list[dict[str, JSON]] = []
    tested: set[str] = set()
    for part in _parts(hunks):
        old = _Old(part, identities, sample(part.path) if isinstance(part, Splice) else ())
        for operation in patch_of([part], identities):
            path = parse_pointer(operation["path"])
            for end in range(1, len(path)):
                pointer = format_pointer(path[:end])
                if pointer not in tested:
                    tested.add(pointer)
                    if end <= len(part.path):
                        element = read_element(path[:end]) if read_element is not None else MISSING
                        operations.extend(_element_tests(pointer, [element], 0, identities, sample(path[: end - 1])))
                    else:
                        operations.extend(old.element_tests(path[:end]))
            value = old.value(path) if operation["op"] != "add" else MISSING
            if value is not MISSING:
                operations.append(_test(format_pointer(path), value))
            operations.append(operation)
    return operations


def _parts(hunks: Sequence[Difference]) -> Iterator[Difference]:
    """Yield the differences in the order of a patch: regions of one array from right to left."""
    for group in grouped(hunks):
        yield from [group] if isinstance(group, Hunk) else reversed(group)


class _Old:
    """The old side of a difference, by pointer."""

    def __init__(self, part: Difference, identities: Identities, beside: Sequence[JSON]) -> None:
        self._part = part
        self._identities = identities
        self._beside = beside

    def value(self, path: Tokens) -> JSON:
        """Return the old value, or `MISSING`."""
        part = self._part
        value: JSON = part.old
        start = part.old_start if isinstance(part, Splice) else 0
        for token in path[len(part.path) :]:
            if isinstance(value, list):
                at = int(token) - start
                value = value[at] if 0 <= at < len(value) else MISSING
            else:
                value = value.get(token, MISSING) if isinstance(value, dict) else MISSING
            start = 0
        return value

    def element_tests(self, path: Tokens) -> Iterator[dict[str, JSON]]:
        """Yield the tests that identify the element at a place; empty if the place is not in an array."""
        siblings, start = self._siblings(path[:-1])
        if siblings is not None:
            beside = self._beside if siblings is self._part.old else ()
            yield from _element_tests(format_pointer(path), siblings, int(path[-1]) - start, self._identities, beside)

    def _siblings(self, path: Tokens) -> tuple[Sequence[JSON] | None, int]:
        if isinstance(self._part, Splice) and path == self._part.path:
            return self._part.old, self._part.old_start
        value = self.value(path)
        return (value, 0) if isinstance(value, list) else (None, 0)


def _element_tests(
    pointer: str, siblings: Sequence[JSON], at: int, identities: Identities, beside: Sequence[JSON]
) -> Iterator[dict[str, JSON]]:
    element = siblings[at]
    if element is MISSING:
        return
    names = identities.get(pointer.rpartition("/")[0]) or find_names(beside, siblings)
    key = keys_of(names, siblings, beside)[0][at]
    if names is None or key is None:
        yield _test(pointer, element)
        return
    for name, value in zip(names, key, strict=True):
        yield _test(f"{pointer}/{escape_token(name)}", value)


def _test(pointer: str, value: JSON) -> dict[str, JSON]:
    return {"op": "test", "path": pointer, "value": value}
