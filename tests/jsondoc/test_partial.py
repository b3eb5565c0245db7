"""Single places of an edited document are taken over, by identity, and nothing else is."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbstore.errors import PointerError
from kbstore.jsondoc.canonical import clone
from kbstore.jsondoc.partial import with_places
from kbstore.jsondoc.pointer import format_pointer
from tests.jsondoc.values import NAMES, SCALARS, exactly

LOGIN, MAIL, VPN = {"id": "login", "n": 1}, {"id": "mail", "n": 1}, {"id": "vpn", "n": 1}
LIST, VIEW, NEW = ({"slug": slug, "t": slug, "of": slug, "by": slug, "n": 1} for slug in ("list", "view", "new"))
LISTS = LIST | {"slug": "lists", "n": 2}
TREES = st.dictionaries(NAMES, st.dictionaries(NAMES, SCALARS, max_size=3) | SCALARS, max_size=4)


@given(TREES, TREES, st.data())
def test_what_is_taken_is_the_place_alone(old: Any, new: Any, data: st.DataObject) -> None:
    """The place is as in the edited document, all else is as before, and neither document is changed."""
    names = sorted({*old, *new})
    if not names:
        return
    name = data.draw(st.sampled_from(names))
    before = clone([old, new])
    found = with_places(old, new, [format_pointer((name,))])
    assert (name in found) == (name in new)
    assert name not in new or exactly(found[name]) == exactly(new[name])
    assert exactly({k: v for k, v in found.items() if k != name}) == exactly(
        {k: v for k, v in old.items() if k != name}
    )
    assert exactly([old, new]) == exactly(before)
    assert exactly(with_places(old, new, [""])) == exactly(new)
    assert exactly(with_places(old, new, [format_pointer((name,)) for name in names])) == exactly(new)


@pytest.mark.parametrize(
    ("old", "new", "pointer", "wanted"),
    [
        # The index is that of the file; the counterpart is the one with the same id.
        ([LOGIN, MAIL], [VPN, LOGIN, {**MAIL, "n": 2}], "/2/n", [LOGIN, {**MAIL, "n": 2}]),
        ([LOGIN, MAIL], [VPN, LOGIN, {**MAIL, "n": 2}], "/2", [LOGIN, {**MAIL, "n": 2}]),
        ([LOGIN, MAIL], [VPN, LOGIN, {**MAIL, "n": 2}], "/[id=mail]/n", [LOGIN, {**MAIL, "n": 2}]),
        ([LOGIN, MAIL], [VPN, LOGIN, {**MAIL, "n": 2}], "/mail", [LOGIN, {**MAIL, "n": 2}]),
        # One that is new goes behind the one that it follows.
        ([LOGIN, MAIL], [VPN, LOGIN, {**MAIL, "n": 2}], "/0", [VPN, LOGIN, MAIL]),
        ([LOGIN, MAIL], [{**LOGIN, "n": 2}, VPN, MAIL], "/vpn", [LOGIN, VPN, MAIL]),
        ([LOGIN], [LOGIN, MAIL, VPN], "/vpn", [LOGIN, VPN]),
        # One that is gone is removed, by its id; by its index only behind the end.
        ([LOGIN, MAIL, VPN], [{**LOGIN, "n": 2}, VPN], "/[id=mail]", [LOGIN, VPN]),
        ([LOGIN, MAIL], [{**LOGIN, "n": 2}], "/1", [LOGIN]),
        # Without an id the position counts while nothing else without one has changed.
        (["a", "b"], ["a", "d"], "/1", ["a", "d"]),
        ([[1, 2], [3]], [[1, 5], [3]], "/0/1", [[1, 5], [3]]),
        ([LOGIN, {"n": 1}, MAIL], [{**LOGIN, "n": 2}, {"n": 3}, MAIL], "/1", [LOGIN, {"n": 3}, MAIL]),
        # An id that was changed in place is no second element.
        ([LOGIN, MAIL], [LOGIN, {"id": "post", "n": 1}], "/1", [LOGIN, {"id": "post", "n": 1}]),
        # Nor is a slug that was edited, by whatever it is named.
        ([LIST, VIEW], [NEW, LISTS, VIEW], "/lists", [LISTS, VIEW]),
        ([LIST, VIEW], [NEW, LISTS, VIEW], "/list", [LISTS, VIEW]),
        ([LIST, VIEW], [NEW, LISTS, VIEW], "/1/n", [{**LIST, "n": 2}, VIEW]),
        ({"a": {"b": 1, "c": 1}}, {"a": {"b": 2, "c": 2}}, "/a/b", {"a": {"b": 2, "c": 1}}),
        ({"[id=x]": 1, "1": 1}, {"[id=x]": 2, "1": 2}, "/[id=x]", {"[id=x]": 2, "1": 1}),
    ],
)
def test_places_in_arrays(old: Any, new: Any, pointer: str, wanted: Any) -> None:
    """The element that is meant is taken, wherever both documents have it."""
    assert with_places(old, new, [pointer]) == wanted


def test_a_setting_names_the_members() -> None:
    """Elements are paired by the members that the settings name."""
    old = {"places": [{"city": "Bonn", "hall": 3, "n": 1}, {"city": "Bonn", "hall": 4, "n": 1}]}
    new = {"places": [{"city": "Bonn", "hall": 4, "n": 2}, {"city": "Bonn", "hall": 3, "n": 2}]}
    found = with_places(old, new, ["/places/0"], {"/places": ("city", "hall")})
    assert [place["n"] for place in found["places"]] == [1, 2]


@pytest.mark.parametrize(
    ("old", "new", "pointer", "told"),
    [
        ({"a": 1}, {"a": 2}, "/b", "there is nothing at '/b'"),
        ({"a": 1}, {"a": 2}, "/a/b", "there is nothing at '/a/b'"),
        ([LOGIN], [LOGIN], "/[id=x]", "there is nothing at"),
        ([LOGIN], [LOGIN], "/7", "there is nothing at"),
        ([LOGIN], [LOGIN], "/-", "there is nothing at"),
        ({}, {"a": {"b": 1}}, "/a/b", "'/a' was added or removed as a whole"),
        ([LOGIN], [LOGIN, MAIL], "/1/n", "'/1' was added or removed as a whole"),
        (["a", "b"], ["x", "a", "b"], "/1", "'/1' is unclear: more than one element without an id"),
        (["one", "two", "three"], ["new", "one", "TWO"], "/2", "'/2' is unclear"),
        (["a", "b"], ["c", "d"], "/1", "'/1' is unclear"),
        ([LOGIN, MAIL, {"n": 1}], [{"n": 2}, LOGIN, MAIL], "/0", "'/0' is unclear"),
        ([{"id": 1}, {"id": "1"}], [{"id": 1, "n": 2}, {"id": "1"}], "/[id=1]", "2 elements have this id"),
    ],
)
def test_what_is_unclear_is_refused(old: Any, new: Any, pointer: str, told: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(PointerError, match=r".*") as refused:
        with_places(old, new, [pointer])
    assert told in str(refused.value)
