"""The places that a patch touches, and the collisions of two patches: the rule for rebasing or refusing a change.

A patch writes the pointers of add, remove, replace, move (both ends) and copy, and reads the pointers of ``test`` and
of copy's ``from``. Two patches collide if

1. a pointer of a patch equals a pointer of the other patch or is a prefix of it, and at least one is written;
2. a patch indexes into an array and the other patch changed the array's length: the index may mean another element now.

So two appends (``-``) to an array collide as well: both write the same pointer, in an order left to chance.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from kbstore.jsondoc.patch import Operation
from kbstore.jsondoc.pointer import APPEND, format_pointer

Tokens = tuple[str, ...]

MAX_COLLISIONS = 1000
"""The most collisions to report; in the worst case every operation collides with every operation."""

_RESIZING = frozenset({"add", "remove", "move", "copy"})


@dataclass(frozen=True, slots=True)
class Footprint:
    """The places that a patch touches, by tokens.

    Attributes:
        writes: The written pointers.
        reads: The read pointers.
        resized: The arrays with a changed length, each with a pointer that changes the length.
        indexed: The arrays with an index in a pointer, each with such a pointer.
    """

    writes: frozenset[Tokens]
    reads: frozenset[Tokens]
    resized: dict[Tokens, Tokens]
    indexed: dict[Tokens, Tokens]

    @classmethod
    def of(cls, operations: Iterable[Operation], is_array: Callable[[Tokens], bool]) -> "Footprint":
        """Return the footprint of a patch.

        Args:
            operations: The patch; values are not read.
            is_array: Returns whether an array is at these tokens, in the state for which the patch was written. Called
                at most once per place, and only if the next token could be an index.
        """
        writes: set[Tokens] = set()
        reads: set[Tokens] = set()
        resized: dict[Tokens, Tokens] = {}
        indexed: dict[Tokens, Tokens] = {}
        known: dict[Tokens, bool] = {}

        def holds_array(place: Tokens) -> bool:
            found = known.get(place)
            if found is None:
                found = known[place] = is_array(place)
            return found

        def note(pointer: Tokens, written: bool, resizes: bool) -> None:
            (writes if written else reads).add(pointer)
            for depth, token in enumerate(pointer):
                if token in APPEND:
                    if resizes and depth == len(pointer) - 1 and holds_array(pointer[:depth]):
                        resized.setdefault(pointer[:depth], pointer)
                elif token.isdigit() and holds_array(pointer[:depth]):
                    indexed.setdefault(pointer[:depth], pointer)
                    if resizes and depth == len(pointer) - 1:
                        resized.setdefault(pointer[:depth], pointer)

        for operation in operations:
            op = operation.op
            note(operation.path, op != "test", op in _RESIZING)
            if operation.source is not None:
                note(operation.source, op == "move", op == "move")
        return cls(frozenset(writes), frozenset(reads), resized, indexed)


def collisions(a: Footprint, b: Footprint) -> list[tuple[str, str]]:
    """Return the collisions of two patches: sorted pairs of a pointer of `a` and a pointer of `b`.

    The result is empty if both patches may be applied, and has at most `MAX_COLLISIONS` pairs. Cost: near-linear in the
    tokens of both.
    """
    found: set[tuple[Tokens, Tokens]] = set()
    for pair in _all_collisions(a, b):
        found.add(pair)
        if len(found) >= MAX_COLLISIONS:
            break
    return sorted([(format_pointer(ours), format_pointer(theirs)) for ours, theirs in found])


def _all_collisions(a: Footprint, b: Footprint) -> Iterator[tuple[Tokens, Tokens]]:
    yield from _overlaps(a.writes, b.writes)
    yield from _overlaps(a.writes, b.reads)
    yield from _overlaps(a.reads, b.writes)
    for place in a.resized.keys() & b.indexed.keys():
        yield a.resized[place], b.indexed[place]
    for place in a.indexed.keys() & b.resized.keys():
        yield a.indexed[place], b.resized[place]


def _overlaps(ours: frozenset[Tokens], theirs: frozenset[Tokens]) -> Iterator[tuple[Tokens, Tokens]]:
    """Yield pairs of equal pointers, or of a pointer and a prefix of the pointer."""
    if not ours or not theirs:
        return
    yield from _prefixed(ours, theirs)
    for longer, shorter in _prefixed(theirs, ours):
        if len(longer) != len(shorter):
            yield shorter, longer


def _prefixed(longer: frozenset[Tokens], shorter: frozenset[Tokens]) -> Iterator[tuple[Tokens, Tokens]]:
    """Yield pairs of a pointer of `longer` and a pointer of `shorter` that is a prefix or equal."""
    lengths = sorted({len(pointer) for pointer in shorter})
    for pointer in longer:
        for length in lengths:
            if length > len(pointer):
                break
            if pointer[:length] in shorter:
                yield pointer, pointer[:length]
