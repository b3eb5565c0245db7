"""What a patch touches, and where two patches touch the same: the rule by which changes are rebased or refused.

A patch writes the pointers of add, remove, replace, move (both ends) and copy, and reads those of ``test`` and of
copy's ``from``. Two patches collide where

1. a pointer of one is a prefix of a pointer of the other or equal to it, and at least one of the two is written;
2. one indexes into an array whose length the other changed: its index may mean another element now.

So two appends (``-``) to one array collide as well: they write one pointer, and their order would be left to chance.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from kbstore.jsondoc.patch import Operation
from kbstore.jsondoc.pointer import APPEND, format_pointer

Tokens = tuple[str, ...]

MAX_COLLISIONS = 1000
"""How many collisions are told; there may be as many as products of operations."""

_RESIZING = frozenset({"add", "remove", "move", "copy"})


@dataclass(frozen=True, slots=True)
class Footprint:
    """The places that a patch touches, by tokens.

    Attributes:
        writes: Pointers that it writes.
        reads: Pointers that it reads.
        resized: Arrays whose length it changes, each with a pointer that does.
        indexed: Arrays that it indexes into, each with a pointer that does.
    """

    writes: frozenset[Tokens]
    reads: frozenset[Tokens]
    resized: dict[Tokens, Tokens]
    indexed: dict[Tokens, Tokens]

    @classmethod
    def of(cls, operations: Iterable[Operation], is_array: Callable[[Tokens], bool]) -> "Footprint":
        """The footprint of a patch.

        Args:
            operations: The patch; its values are not looked at.
            is_array: Tells whether an array stands at these tokens, in the state that the patch was written for. Asked
                at most once a place, and only where the token after it could be an index.
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
    """Where two patches touch the same: pairs of a pointer of `a` and one of `b`, sorted; empty where they may both be.

    At most `MAX_COLLISIONS` are told. Cost: near-linear in the tokens of both.
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
    """Pairs of which one is a prefix of the other, or both are equal."""
    if not ours or not theirs:
        return
    yield from _prefixed(ours, theirs)
    for longer, shorter in _prefixed(theirs, ours):
        if len(longer) != len(shorter):
            yield shorter, longer


def _prefixed(longer: frozenset[Tokens], shorter: frozenset[Tokens]) -> Iterator[tuple[Tokens, Tokens]]:
    """Pairs of a pointer and a prefix of it, or itself, among the others."""
    lengths = sorted({len(pointer) for pointer in shorter})
    for pointer in longer:
        for length in lengths:
            if length > len(pointer):
                break
            if pointer[:length] in shorter:
                yield pointer, pointer[:length]
