"""Differences as people read them: one change for each value that was added, removed, modified or moved."""

from collections.abc import Iterator, Sequence
from itertools import chain

from kbstore.canonical import JSON, MISSING, encode
from kbstore.hunks import Change, Difference, Hunk, Splice, grouped
from kbstore.pairing import Pair, differs, pair_elements, shared_id_key
from kbstore.pointer import escape_token, format_pointer


def changes(hunks: Sequence[Difference]) -> list[Change]:
    """Every changed value, in the order of the differences.

    Objects and arrays that both sides have are entered, so that what is told is as small as what was changed; what only
    one side has is told whole. Array elements are matched by their id-like member, else by content; one that was taken
    out here and put in there is told as moved.
    """
    told: list[Change] = []
    for group in grouped(hunks):
        start = len(told)
        try:
            if isinstance(group, Hunk):
                told.extend(_value(format_pointer(group.path), group.old, group.new, None))
            else:
                told.extend(_regions(format_pointer(group[0].path), group, None))
        except RecursionError:  # the caller stands deep in Python's stack
            told[start:] = _untold(group)
    return told


def _untold(group: Hunk | list[Splice]) -> Iterator[Change]:
    """The group without entering its values."""
    if isinstance(group, Hunk):
        yield Change(format_pointer(group.path), "modified", group.old, group.new, None)
        return
    for splice in group:
        path = format_pointer(splice.path)
        for i, value in enumerate(splice.old):
            yield Change(f"{path}/{splice.old_start + i}", "removed", value, MISSING, None)
        for j, value in enumerate(splice.new):
            yield Change(f"{path}/{splice.new_start + j}", "added", MISSING, value, None)


def _value(pointer: str, old: JSON, new: JSON, label: str | None) -> Iterator[Change]:
    if old is MISSING:
        yield Change(pointer, "added", old, new, label)
    elif new is MISSING:
        yield Change(pointer, "removed", old, new, label)
    elif type(old) is dict and type(new) is dict:
        # In the order of the new object, as a person finds it there; what is gone comes first.
        for name, value in old.items():
            if name not in new:
                yield Change(f"{pointer}/{escape_token(name)}", "removed", value, MISSING, label)
        for name, value in new.items():
            before = old.get(name, MISSING)
            if before is not value:
                yield from _value(f"{pointer}/{escape_token(name)}", before, value, label)
    elif type(old) is list and type(new) is list:
        yield from _regions(pointer, [Splice((), 0, old, 0, new)], label)
    elif differs(old, new):
        yield Change(pointer, "modified", old, new, label)


def _regions(pointer: str, splices: Sequence[Splice], label: str | None) -> Iterator[Change]:
    """Changes in regions of one array."""
    key = shared_id_key(
        list(chain.from_iterable([splice.old for splice in splices])),
        list(chain.from_iterable([splice.new for splice in splices])),
    )
    found = [(splice, pair) for splice in splices for pair in pair_elements(splice.old, splice.new, key)]
    gone, moved = _moves(found, key)
    for at, (splice, pair) in enumerate(found):
        old_pointer = f"{pointer}/{splice.old_start + pair.i}"
        new_pointer = f"{pointer}/{splice.new_start + pair.j}"
        if pair.kind == "=":
            old, new = splice.old[pair.i], splice.new[pair.j]
            yield from _value(new_pointer, old, new, label or _label(new, key))
        elif pair.kind == "-":
            if at not in gone:
                old = splice.old[pair.i]
                yield Change(old_pointer, "removed", old, MISSING, label or _label(old, key))
        else:
            new = splice.new[pair.j]
            tag = label or _label(new, key)
            if at in moved:
                yield Change(new_pointer, "moved", moved[at], new, tag)
                if differs(moved[at], new):
                    yield from _value(new_pointer, moved[at], new, tag)
            else:
                yield Change(new_pointer, "added", MISSING, new, tag)


def _moves(found: Sequence[tuple[Splice, Pair]], key: str | None) -> tuple[set[int], dict[int, JSON]]:
    """Which removals and insertions are one move: places of such removals, and old values by place of insertion."""
    if len({pair.kind for _, pair in found if pair.kind != "="}) < 2:
        return set(), {}
    removed: dict[JSON, list[int]] = {}
    for at, (splice, pair) in enumerate(found):
        if pair.kind == "-":
            removed.setdefault(_identity(splice.old[pair.i], key), []).append(at)
    gone: set[int] = set()
    moved: dict[int, JSON] = {}
    for at, (splice, pair) in enumerate(found):
        places = removed.get(_identity(splice.new[pair.j], key)) if pair.kind == "+" else None
        if places:
            source = places.pop(0)
            gone.add(source)
            moved[at] = found[source][0].old[found[source][1].i]
    return gone, moved


def _identity(element: JSON, key: str | None) -> JSON:
    return encode(element) if key is None else element[key]


def _label(element: JSON, key: str | None) -> str | None:
    return None if key is None else f"{key}={element[key]}"
