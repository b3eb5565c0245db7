"""The identifying members of an array's elements, and the key of an element by these members.

A setting of the store names the members; otherwise they are found by name. An element without the members, or with the
same values as another element, has no key: only such an element is identified by content and place.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, TypeAlias

from kbstore.jsondoc.canonical import JSON

Names: TypeAlias = tuple[str, ...]
"""The members that identify elements together, such as ``("id",)`` or ``("city", "hall")``."""

Key: TypeAlias = tuple[str | int, ...]
"""The values of the identifying members in an element. ``1`` and ``"1"`` are two keys."""

Identities: TypeAlias = Mapping[str, Names]
"""The identifying members in a store's settings, by the pointer of the array."""

STRONG_NAMES = ("id", "_id", "@id", "uuid", "guid", "key")
WEAK_NAMES = ("slug", "code", "name")
"""Names of members to look for if no setting names members, best first. A member with a weak name may be edited, so
elements without a partner are still compared by content."""

_KINDS = frozenset({str, int})

MOST_PAIRED = 256
"""Arrays with more elements are not searched for two members that identify elements together."""
_MOST_CANDIDATES = 8
_LONGEST_VALUE = 64


def may_be_edited(names: Names) -> bool:
    """Return whether these members may be edited, so that an element with another key can be the same element."""
    return len(names) == 1 and names[0] in WEAK_NAMES


def key_of(element: JSON, names: Names) -> Key | None:
    """Return an element's key; None if a member is missing, or is neither a string nor an integer."""
    if type(element) is not dict:
        return None
    values: list[Any] = [element.get(name) for name in names]
    return tuple(values) if _KINDS.issuperset(map(type, values)) else None


def keys_of(names: Names | None, *sides: Sequence[JSON]) -> list[list[Key | None]]:
    """Return the keys of the elements of several lists; None for a duplicate key in any list.

    Args:
        names: The identifying members; None leaves every element without a key.
        sides: The same array at several versions.
    """
    if names is None:
        return [[None] * len(side) for side in sides]
    keys = [[key_of(element, names) for element in side] for side in sides]
    doubled = {key for side in keys for key, count in Counter(side).items() if count > 1}
    return [[None if key in doubled else key for key in side] for side in keys] if doubled else keys


def find_names(*sides: Sequence[JSON]) -> Names | None:
    """Find the member that identifies an array's elements in all given versions.

    The result is the first of `STRONG_NAMES` and `WEAK_NAMES` with distinct values in more than half of the elements of
    every list. An empty list accepts any member.
    """
    held = [side for side in sides if side]
    present = {name for side in held for element in side[:2] if type(element) is dict for name in element}
    for name in (*STRONG_NAMES, *WEAK_NAMES):
        if name in present and all(_tells_most_apart(name, side) for side in held):
            return (name,)
    return None


def find_pair(old: Sequence[JSON], new: Sequence[JSON]) -> Names | None:
    """Find two members that together identify the elements of an array without another identity.

    Every element has both members, no two elements of a list have the same values, and the values of one list are all
    in the other list. So an edit of the members is not taken for another element. If several pairs qualify, all must
    match the same elements, or the result is None; pairs of strings come first.

    Args:
        old: The whole array, before a change.
        new: The whole array, after the change.
    """
    if not old or not new or not 2 <= max(len(old), len(new)) <= MOST_PAIRED:
        return None
    found: Names | None = None
    partners: list[int | None] | None = None
    for names in combinations(_plain_members(old, new), 2):
        keys, others = ([key_of(element, names) for element in side] for side in (old, new))
        before, after = ({key: at for at, key in enumerate(side)} for side in (keys, others))
        if len(before) < len(old) or len(after) < len(new):
            continue
        if before.keys() <= after.keys() or after.keys() <= before.keys():
            which = [after.get(key) for key in keys]
            if partners is not None and which != partners:
                return None
            found, partners = found or names, which
    return found


def _plain_members(*sides: Sequence[JSON]) -> list[str]:
    """Return the names of the members with a short string or an integer in every element; strings first."""
    elements = [element for side in sides for element in side]
    names = [*elements[0]] if type(elements[0]) is dict else []
    for element in elements:
        names = [name for name in names if type(element) is dict and _is_plain(element.get(name))]
    texts = {name for name in names if all(type(element[name]) is str for element in elements)}
    return sorted(names, key=lambda name: (name not in texts, name))[:_MOST_CANDIDATES]


def _is_plain(value: JSON) -> bool:
    return type(value) is int or (type(value) is str and len(value) <= _LONGEST_VALUE)


def id_key(elements: Sequence[JSON]) -> str | None:
    """Return the member with a distinct value in every element, or None."""
    names = find_names(elements)
    if names is None or None in keys_of(names, elements)[0]:
        return None
    return names[0]


def _tells_most_apart(name: str, elements: Sequence[JSON]) -> bool:
    values = {
        element[name]
        for element in elements
        if type(element) is dict and name in element and type(element[name]) in _KINDS
    }
    return 2 * len(values) > len(elements)


def element_token(names: Names, key: Key) -> str:
    """Return the token for an element by key, such as ``[id=mail]`` or ``[city=Bonn,hall=3]``."""
    pairs = [f"{encoded(name)}={encoded(str(value))}" for name, value in zip(names, key, strict=True)]
    return f"[{','.join(pairs)}]"


def encoded(text: str) -> str:
    """Return a text as written inside brackets: characters with a meaning there are percent-encoded."""
    for character in "%,]=":  # the percent sign first, since encoding the others adds percent signs
        text = text.replace(character, f"%{ord(character):02X}")
    return text


def short_token(token: str, at: str) -> str:
    """Return the short form of an element's token, the only value of the key; return any other token unchanged.

    Args:
        token: The token by identity.
        at: The token by position; equal to `token` if the element has no key.
    """
    if token == at or "," in token:
        return token
    return decoded(token[1:-1].partition("=")[2])


def decoded(text: str) -> str:
    """Return the original text of an `encoded` text."""
    for character in ",]=%":
        text = text.replace(f"%{ord(character):02X}", character)
    return text


def parse_token(token: str) -> tuple[Names, tuple[str, ...]] | None:
    """Return the names and the values, as text, of a token such as ``[city=Bonn,hall=3]``; None for any other token."""
    if len(token) < 3 or token[0] != "[" or token[-1] != "]":
        return None
    pairs = [part.partition("=") for part in token[1:-1].split(",")]
    if not all(equals for _, equals, _ in pairs):
        return None
    return tuple([decoded(name) for name, _, _ in pairs]), tuple([decoded(value) for _, _, value in pairs])
