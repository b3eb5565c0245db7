"""One side moves, renames, reorders, removes or edits an element, and the other does any of these with the same one.

The oracle knows the element by a text that no other one has: it makes both changes on one document, wherever the first
one has put the element. If they exclude each other, only a conflict is right, and it names each place concerned.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import pytest

from kbstore import ConflictError, Store
from kbstore.errors import Conflict

Document = Any
Action = Callable[[Document, Any], None]
SUBJECT = "the text that only the subject has"
OTHERS = ["one", "two", "three"]


def _where(held: Any) -> Any:
    """Return the key or index of the subject; None if it is not here."""
    items = held.items() if isinstance(held, dict) else enumerate(held)
    return next((at for at, value in items if SUBJECT in str(value)), None)


def _move(document: Document, at: Any, name: str) -> None:
    value = document["here"].pop(at)
    if isinstance(document[name], dict):
        document[name]["moved"] = value
    else:
        document[name].append(value)


def _rename(document: Document, at: Any, name: str) -> None:
    if isinstance(document["here"], dict):
        document["here"][name] = document["here"].pop(at)
    else:
        document["here"][at]["id"] = name


def _reorder(document: Document, at: int, to: int) -> None:
    document["here"].insert(to, document["here"].pop(at))


def _remove(document: Document, at: Any) -> None:
    del document["here"][at]


def _edit(document: Document, at: Any) -> None:
    if isinstance(document["here"][at], dict):
        document["here"][at]["state"] = "edited"
    else:
        document["here"][at] += ", edited"


ACTIONS: dict[str, Action] = {
    "move": lambda document, at: _move(document, at, "there"),
    "move elsewhere": lambda document, at: _move(document, at, "beyond"),
    "rename": lambda document, at: _rename(document, at, "new"),
    "rename otherwise": lambda document, at: _rename(document, at, "newest"),
    "reorder": lambda document, at: _reorder(document, at, 3),
    "reorder otherwise": lambda document, at: _reorder(document, at, 0),
    "remove": _remove,
    "edit": _edit,
}
REORDERS = {"reorder", "reorder otherwise"}
RENAMES = {"rename", "rename otherwise"}


class Kind(NamedTuple):
    """What holds the element.

    Attributes:
        here: The container, with the element.
        there: An empty or other container of the same kind.
        known: The elements of arrays are known wherever they are.
        without: Actions that mean nothing here.
    """

    here: Any
    there: Any
    known: bool
    without: set[str]


KINDS = {
    "object": Kind(
        {"one": {"t": "1"}, "subject": {"t": SUBJECT, "state": "as it was"}, "two": {"t": "2"}}, {}, True, REORDERS
    ),
    "texts": Kind({"one": "1", "subject": SUBJECT, "two": "2"}, {}, True, REORDERS),
    "array": Kind(
        [{"id": "a", "t": "a"}, {"id": "s", "t": SUBJECT, "state": "x"}, {"id": "b", "t": "b"}, {"id": "c", "t": "c"}],
        [{"id": "z"}],
        True,
        set(),
    ),
    "array without ids": Kind(
        [{"t": "a", "u": "a"}, {"t": SUBJECT, "state": "x"}, {"t": "b"}, {"t": "b", "u": "b"}],
        [{"t": "z"}],
        False,
        RENAMES,
    ),
    "element without an id": Kind(
        [{"id": "a"}, {"t": SUBJECT, "state": "x"}, {"id": "b"}, {"id": "c"}], [{"t": "z"}], False, RENAMES
    ),
    "array of texts": Kind(["a", SUBJECT, "b", "c"], ["z"], False, RENAMES),
}
PAIRS = [
    (kind, first, second)
    for kind, (_, _, _, without) in KINDS.items()
    for first in ACTIONS
    for second in ACTIONS
    if not {first, second} & without
]


def _wanted(base: Document, first: str, second: str) -> Document | None:
    """Return the document with both changes; None if they exclude each other."""
    document = copy.deepcopy(base)
    others = {first, second} - REORDERS
    if first == second or not others:
        steps = [first] if first == second else []
    elif len(others) == 1 and others <= {"move", "move elsewhere", "remove", "edit"}:
        steps = [*({first, second} & REORDERS), *others]
    else:
        steps = []
    for step in steps:
        ACTIONS[step](document, _where(document["here"]))
    return document if steps else None


def _committed(base: Document, sides: list[Document]) -> tuple[Document, Sequence[Conflict]]:
    """Return what the store makes of two changes, and the conflicts."""
    with Store.create("memory:", base) as store:
        store.commit(sides[0], base="v1")
        try:
            store.commit(sides[1], base="v1")
        except ConflictError as refused:
            return store.get(""), refused.conflicts
        assert store.verify().ok
        return store.get(""), ()


def _places(document: Document, pointer: str = "") -> Iterator[str]:
    """Give the pointer of the subject, however deep."""
    if isinstance(document, dict | list):
        for at, value in document.items() if isinstance(document, dict) else enumerate(document):
            yield from _places(value, f"{pointer}/{at}")
    elif SUBJECT in str(document):
        yield pointer


@pytest.mark.parametrize(("kind", "first", "second"), PAIRS)
def test_two_changes_of_one_element(kind: str, first: str, second: str) -> None:
    """Both are in the result, or there is a conflict; the element is nowhere twice, and no change goes unnoticed."""
    here, there, known, _ = KINDS[kind]
    base = {"here": here, "there": there, "beyond": copy.deepcopy(there)}
    sides = [copy.deepcopy(base), copy.deepcopy(base)]
    for side, action in zip(sides, (first, second), strict=True):
        ACTIONS[action](side, _where(side["here"]))
    wanted = _wanted(base, first, second)
    found, conflicts = _committed(base, sides)
    if not conflicts:
        assert found == wanted
        assert len([*_places(found)]) == len([*_places(wanted)])
        return
    assert found == sides[0]
    assert all(conflict.pointer.startswith(("/here", "/there", "/beyond")) for conflict in conflicts)
    # Without an id, a conflict may be more than is needed; but the same removal on both sides is one removal.
    assert wanted is None or not (known or (first == second and first in ("remove", "reorder")))


@pytest.mark.parametrize(
    ("base", "first", "second", "places"),
    [
        ({"p": {"t": 1}}, {"q": {"t": 1}}, {}, {"/p": (), "/q": ("theirs",)}),
        ({"p": {"t": 1}}, {}, {"q": {"t": 1}}, {"/p": (), "/q": ("ours",)}),
        ({"p": {"t": 1}}, {"q": {"t": 1}}, {"r": {"t": 1}}, {"/p": (), "/q": ("theirs",), "/r": ("ours",)}),
        ({"p": 7, "o": 1}, {"q": 7, "o": 1}, {"o": 1}, {"/p": (), "/q": ("theirs",)}),
        # Booleans are alike everywhere, and a short text elsewhere is another one.
        ({"p": True, "o": 1}, {"q": True, "o": 1}, {"o": 1}, {}),
        ({"p": "open", "o": {}}, {"o": {"q": "open"}}, {"o": {}}, {}),
        ({"p": {"t": 1}, "s": {"t": 1}}, {"s": {"t": 1}}, {"s": {"t": 1}, "n": 1}, {}),
    ],
)
def test_a_conflict_names_each_place(
    base: Document, first: Document, second: Document, places: dict[str, tuple[str, ...]]
) -> None:
    """The one that it was at, and those that a side put it in, each with the value on that side."""
    _, conflicts = _committed(base, [first, second])
    assert {conflict.kind for conflict in conflicts} <= {"moved"}
    found = {
        conflict.pointer: tuple(side for side in ("ours", "theirs") if getattr(conflict, side) in base.values())
        for conflict in conflicts
    }
    assert found == places
